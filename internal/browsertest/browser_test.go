package browsertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

const (
	// patience bounds every wait. It is long because the machine may be busy.
	patience = 2 * time.Minute
	// pace is how often a condition is looked at.
	pace = 50 * time.Millisecond
)

// void is a step in the browser.
type void = chromedp.Action[chromedp.Void]

// startBrowser starts Chromium, which ends with the test, and returns the
// context that tabs are opened in.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(findBrowser(t)), chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.WSURLReadTimeout(patience), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // The sandbox refuses root.
	}
	allocator, _ := chromedp.NewExecAllocator(context.Background(), options...)
	browser, _ := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		ending, cancel := context.WithTimeout(browser, patience)
		defer cancel()
		if err := chromedp.Cancel(ending); err != nil {
			t.Errorf("end the browser: %v", err)
		}
	})
	if err := chromedp.Do(browser); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	return browser
}

func findBrowser(t *testing.T) string {
	t.Helper()
	names := []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatalf("this test needs a browser: none of %s is in PATH (make setup installs chromium)", strings.Join(names, ", "))
	return ""
}

// page is a tab with the page in it.
type page struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex // guards the fields below
	problems []string
}

// open opens an address in a new tab, which is closed when the test ends.
func open(t *testing.T, browser context.Context, url string) *page {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	p := &page{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, p.listen); err != nil {
		t.Fatalf("listen to a tab: %v", err)
	}
	if _, err := chromedp.Call(ctx, log.Enable, struct{}{}); err != nil {
		t.Fatalf("listen to the log of a tab: %v", err)
	}
	p.do(chromedp.EmulateViewport(1280, 900), chromedp.Navigate(url))
	return p
}

// listen collects what a developer would see in red: uncaught exceptions, error
// and warning messages, resources that did not load, and what the content
// security policy refused.
func (p *page) listen(event any) {
	var problem string
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		problem = e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			problem += " " + e.ExceptionDetails.Exception.Description
		}
	case *runtime.EventConsoleAPICalled:
		if kind := string(e.Type); kind == "error" || kind == "warning" || kind == "assert" {
			problem = "console." + kind
			for _, a := range e.Args {
				problem += fmt.Sprintf(" %s%s", a.Value, a.Description)
			}
		}
	case *log.EventEntryAdded:
		if level := string(e.Entry.Level); level == "error" || level == "warning" {
			problem = fmt.Sprintf("%s %s: %s %s", e.Entry.Source, level, e.Entry.Text, e.Entry.URL)
		}
	}
	if problem != "" {
		p.mu.Lock()
		p.problems = append(p.problems, problem)
		p.mu.Unlock()
	}
}

// heard returns what listen has collected.
func (p *page) heard() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.problems...)
}

// clean fails the test if anything was collected, apart from what contains one
// of the given texts.
func (p *page) clean(expected ...string) {
	p.t.Helper()
	for _, problem := range p.heard() {
		if !containsAny(problem, expected) {
			p.t.Errorf("the browser's console says: %s", problem)
		}
	}
}

func containsAny(s string, parts []string) bool {
	for _, part := range parts {
		if strings.Contains(s, part) {
			return true
		}
	}
	return false
}

// do runs steps in the tab.
func (p *page) do(steps ...void) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatalf("in the browser: %v%s", err, p.seen())
	}
}

// value returns what a JavaScript expression is.
func value[T any](p *page, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.t.Fatalf("evaluate %s: %v", expression, err)
	}
	return v
}

// until waits until a JavaScript expression is true.
func (p *page) until(what, expression string) {
	p.t.Helper()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for !value[bool](p, "Boolean("+expression+")") {
		select {
		case <-tick.C:
		case <-limit.C:
			p.t.Fatalf("waited in vain until %s%s", what, p.seen())
		}
	}
}

// seen describes the page for the message of a failure.
func (p *page) seen() string {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body ? document.body.innerText : ""`))
	if err != nil {
		return fmt.Sprintf("; the page cannot be read: %v", err)
	}
	return fmt.Sprintf("\nthe page shows:\n%s\nand its console: %q", text, p.heard())
}
