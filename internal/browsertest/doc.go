// Package browsertest holds the test of the booking example's page in a real
// browser: headless Chromium, over a lab with a PostgreSQL cluster, ZooKeeper,
// sidecars, instances and the load balancer. It is a module of its own, so that
// nobody else pays for the browser's protocol.
//
// The test needs chromium, chromium-browser or google-chrome in PATH, and what
// the other tests need (make setup). It leaves screenshots of the page, wide
// and narrow, light and dark, in the folder build/screenshots.
package browsertest
