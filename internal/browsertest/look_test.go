package browsertest

import (
	"bytes"
	"context"
	_ "embed"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// folder is where the screenshots go: git ignores it.
const folder = "../../build/screenshots"

// contrastScript returns every visible text whose contrast with what is behind
// it is below WCAG AA.
//
//go:embed testdata/contrast.js
var contrastScript string

// overflowScript returns the elements that reach beyond the right edge.
const overflowScript = `(() => {
	const edge = document.documentElement.clientWidth;
	const wide = [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > edge + 0.5 && !e.closest('.hidden, .notice'));
	if (document.documentElement.scrollWidth > edge) wide.unshift(document.documentElement);
	const map = document.querySelector('.map-scroll');
	if (map.scrollWidth > map.clientWidth) wide.push(map);
	return wide.map((e) => e.tagName + '#' + e.id + '.' + e.getAttribute('class'));
})()`

// scheme lets the system prefer light or dark, and no motion, so that a picture
// shows no half-way state.
func scheme(colours string) void {
	return func(ctx context.Context, _ *chromedp.Target) (chromedp.Void, error) {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: colours}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
		return chromedp.Void{}, err
	}
}

func nothingOverflows(t *testing.T, s *story) {
	for _, width := range []int64{320, 390, 768, 1024, 1280, 1920} {
		s.front.do(chromedp.EmulateViewport(width, 844))
		if width == 320 {
			// The seats of a narrow screen may scroll within their frame.
			s.front.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('.map').style.display = 'none'`))
		}
		if wide := value[[]string](s.front, overflowScript); len(wide) > 0 {
			t.Errorf("at %d pixels these are too wide: %v", width, wide)
		}
		s.front.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('.map').style.display = ''`))
	}
	s.front.do(chromedp.EmulateViewport(1280, 900))
}

func textHasContrast(t *testing.T, s *story) {
	for _, colours := range []string{"light", "dark"} {
		s.front.do(scheme(colours))
		s.front.until("the colours are set", `matchMedia('(prefers-color-scheme: `+colours+`)').matches`)
		if weak := value[[]string](s.front, contrastScript); len(weak) > 0 {
			t.Errorf("in the %s scheme these texts have too little contrast: %q", colours, weak)
		}
	}
	// The button overrides the system, and the override is kept.
	s.front.do(scheme("light"), chromedp.Click(chromedp.ID("theme")))
	if got := value[string](s.front, `getComputedStyle(document.documentElement).colorScheme + ' ' + document.querySelector('#theme').getAttribute('aria-pressed') + ' ' + localStorage.getItem('theme')`); got != "dark true dark" {
		t.Errorf("after a click on the button for dark colours: %q, want %q", got, "dark true dark")
	}
	s.front.do(chromedp.Evaluate[chromedp.Void](`localStorage.removeItem('theme'); delete document.documentElement.dataset.theme`))
}

// everythingHasAName checks that whoever cannot see the page is told what each
// control is.
func everythingHasAName(t *testing.T, s *story) {
	nameless := value[[]string](s.front, `[...document.querySelectorAll('button, input, select, a, [role=grid], section, dialog')].filter((e) => {
		const by = (e.getAttribute('aria-labelledby') ?? '').split(' ').filter(Boolean).map((id) => document.getElementById(id)?.textContent ?? '').join('');
		const own = ['BUTTON', 'A'].includes(e.tagName) ? e.textContent : [...(e.labels ?? [])].map((l) => l.textContent).join('');
		return !(by || e.getAttribute('aria-label') || own).trim();
	}).map((e) => e.outerHTML.slice(0, 120))`)
	if len(nameless) > 0 {
		t.Errorf("these have no name: %q", nameless)
	}
}

func screenshots(t *testing.T, s *story) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, shot := range []struct {
		name, colours string
		width, height int64
		scale         float64
	}{
		{"desktop-light", "light", 1280, 900, 1},
		{"desktop-dark", "dark", 1280, 900, 1},
		{"phone-light", "light", 390, 844, 2},
		{"phone-dark", "dark", 390, 844, 2},
	} {
		s.front.do(chromedp.EmulateViewport(shot.width, shot.height, chromedp.EmulateScale(shot.scale)), scheme(shot.colours),
			chromedp.Evaluate[chromedp.Void](`scrollTo(0, 0); document.activeElement.blur()`))
		s.front.until("no message is in the way", `!document.querySelector('#notice').classList.contains('shown')`)
		ctx, cancel := context.WithTimeout(s.front.ctx, patience)
		picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
		cancel()
		if err != nil {
			t.Fatalf("take %s: %v", shot.name, err)
		}
		size, err := png.DecodeConfig(bytes.NewReader(picture))
		if err != nil {
			t.Fatalf("%s is no PNG: %v", shot.name, err)
		}
		if want := int(float64(shot.width) * shot.scale); size.Width != want || size.Height < int(shot.height) {
			t.Errorf("%s is %dx%d, want %d wide and the whole page", shot.name, size.Width, size.Height, want)
		}
		path := filepath.Join(folder, shot.name+".png")
		if err := os.WriteFile(path, picture, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
