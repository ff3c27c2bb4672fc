package browsertest

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestConsoleIsHeard proves that what the story counts on is heard: an
// exception, an error message, and a refusal of the content security policy.
func TestConsoleIsHeard(t *testing.T) {
	browser := startBrowser(t)
	scripts := map[string]string{
		"/exception.js": `throw new Error('thrown on purpose')`,
		"/message.js":   `console.error('said on purpose')`,
		"/quiet.js":     `console.log('nothing is wrong')`,
		"/style.js":     `document.body.insertAdjacentHTML('beforeend', '<p style="color: red">refused on purpose</p>')`,
		"/missing.js":   "",
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'")
		if script := scripts[r.URL.Path]; script != "" {
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = w.Write([]byte(script))
			return
		}
		switch r.URL.Path {
		case "/":
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte(`<!doctype html><link rel="icon" href="/icon"><body><script src="` + r.URL.RawQuery + `"></script></body>`))
		case "/icon":
			w.Header().Set("Content-Type", "image/svg+xml")
			_, _ = w.Write([]byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	for script := range scripts {
		p := open(t, browser, server.URL+"/?"+script)
		p.until("the page is there", `document.readyState === 'complete'`)
		if heard := p.heard(); (len(heard) > 0) == (script == "/quiet.js") {
			t.Errorf("heard of %s: %q", script, heard)
		}
	}
}
