package browsertest

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/pgroute/pgroute/internal/booklab/api"
	"github.com/pgroute/pgroute/internal/booklab/lab"
)

// story is the lab and its pages: two instances and the load balancer.
type story struct {
	lab                  *lab.Lab
	browser              context.Context
	first, second, front *page
}

// TestPage tells one story, in one lab: each part begins where the one before
// it ended.
func TestPage(t *testing.T) {
	s := &story{browser: startBrowser(t)}
	s.lab = lab.ForTest(t, lab.Options{})
	s.first = s.open(t, s.lab.Instances[0].URL())
	s.second = s.open(t, s.lab.Instances[1].URL())
	s.front = s.open(t, s.lab.URL())

	for _, part := range []struct {
		name string
		run  func(*testing.T, *story)
	}{
		{"SaysWhoServedIt", saysWhoServedIt},
		{"BookingShowsOnAnotherInstance", bookingShowsOnAnotherInstance},
		{"SeatTakenMeanwhileIsRefusedPolitely", seatTakenMeanwhile},
		{"OwnBookingCanBeCancelled", ownBookingCanBeCancelled},
		{"KeyboardMovesAndBooks", keyboardMovesAndBooks},
		{"LevelOfThePage", levelOfThePage},
		{"LevelOfAllInstances", levelOfAllInstances},
		{"LateReplicasShowTheDifference", lateReplicasShowTheDifference},
		{"Fight", fight},
		{"ReplicasCatchUp", replicasCatchUp},
		{"ForeignTokenIsDropped", foreignTokenIsDropped},
		{"NothingOverflows", nothingOverflows},
		{"TextHasContrast", textHasContrast},
		{"EverythingHasAName", everythingHasAName},
		{"Screenshots", screenshots},
	} {
		if !t.Run(part.name, func(t *testing.T) {
			s.use(t)
			part.run(t, s)
		}) {
			break
		}
	}
	s.use(t)
	s.first.clean("409")
	s.second.clean()
	s.front.clean()
}

// use lets the pages report to a part of the test.
func (s *story) use(t *testing.T) {
	for _, p := range []*page{s.first, s.second, s.front} {
		p.t = t
	}
}

// open opens the page of an instance and waits until it lives.
func (s *story) open(t *testing.T, url string) *page {
	p := open(t, s.browser, url)
	p.untilAlive()
	return p
}

func (p *page) untilAlive() {
	p.t.Helper()
	p.until("the page lives", `document.querySelector('#live')?.dataset.live === 'on'
		&& document.querySelectorAll('button.seat').length > 0
		&& document.querySelectorAll('.node-card:not(.is-down)').length === 3
		&& document.querySelectorAll('.instance').length === 3`)
}

// seat is how a script finds a seat's button.
func seat(id string) string {
	return fmt.Sprintf(`document.querySelector('button.seat[data-id="%s"]')`, id)
}

// free returns the id of a free seat.
func (p *page) free() string {
	p.t.Helper()
	p.until("a seat is free", `document.querySelector('button.seat[data-kind="free"]')`)
	return value[string](p, `document.querySelector('button.seat[data-kind="free"]').dataset.id`)
}

// book books a seat as a user does.
func (p *page) book(id, customer string) {
	p.t.Helper()
	p.fill(id, customer)
	p.do(chromedp.Click(chromedp.ID("booking-submit")))
	p.until("the seat is booked", seat(id)+`.dataset.kind === 'mine'`)
	p.until("the dialog is closed", `!document.querySelector('#booking').open`)
}

// fill opens the dialog for a seat and writes a name.
func (p *page) fill(id, customer string) {
	p.t.Helper()
	p.do(chromedp.Click(chromedp.CSS(fmt.Sprintf(`button.seat[data-id="%s"]`, id))))
	p.until("the dialog is open", `document.querySelector('#booking').open`)
	p.do(chromedp.Clear(chromedp.ID("booking-name")), chromedp.SendKeys(chromedp.ID("booking-name"), customer))
}

func saysWhoServedIt(t *testing.T, s *story) {
	for p, want := range map[*page]string{
		s.first:  "instance " + s.lab.Instances[0].Name,
		s.second: "instance " + s.lab.Instances[1].Name,
		s.front:  "load balancer of 3 instances",
	} {
		if got := value[string](p, `document.querySelector('#served').textContent`); !strings.Contains(got, want) {
			t.Errorf("the page says it comes from %q, want %q", got, want)
		}
	}
	links := value[[]string](s.first, `[...document.querySelectorAll('#instance-list a')].map((a) => a.host)`)
	if len(links) != 2 || links[0] != s.lab.Instances[1].Addr || links[1] != s.lab.Instances[2].Addr {
		t.Errorf("links to %v, want those to the other two instances", links)
	}
}

func bookingShowsOnAnotherInstance(t *testing.T, s *story) {
	id := s.first.free()
	s.first.book(id, "Ada Lovelace")
	acknowledged := time.Now()
	s.second.until("the other instance shows the booking",
		seat(id)+`.dataset.kind === 'taken' && `+seat(id)+`.getAttribute('aria-label').includes('taken by Ada Lovelace')`)
	t.Logf("shown on the other page %s after it was shown on the first", time.Since(acknowledged).Round(time.Millisecond))

	s.first.until("both lanes are told", `document.querySelector('#lane-write .badge') && document.querySelector('#log-list').firstElementChild.textContent.includes('read after it')`)
	lane := value[string](s.first, `document.querySelector('#lane-write').textContent`)
	if !strings.Contains(lane, "primary") || !strings.Contains(lane, s.lab.Instances[0].Name) {
		t.Errorf("the write went %q, want through %s to the primary", lane, s.lab.Instances[0].Name)
	}
	if value[bool](s.first, `document.querySelector('#lane-read').classList.contains('is-stale')`) {
		t.Error("the read after the booking was stale")
	}
	if got := value[string](s.first, `sessionStorage.getItem('token') ?? ''`); !strings.HasPrefix(got, "pgr1_") {
		t.Errorf("the page carries the token %q after a booking", got)
	}
}

func seatTakenMeanwhile(t *testing.T, s *story) {
	id := s.first.free()
	s.first.fill(id, "Too Late")
	var wish api.Wish
	if _, err := fmt.Sscan(id, &wish.Seat); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(value[string](s.first, `new URLSearchParams(location.search).get('slot')`), &wish.Slot); err != nil {
		t.Fatal(err)
	}
	wish.Customer = "Grace Hopper"
	if err := bookElsewhere(t.Context(), s.lab.Instances[2].URL(), wish); err != nil {
		t.Fatal(err)
	}
	s.first.do(chromedp.Click(chromedp.ID("booking-submit")))
	s.first.until("the dialog says why not", `document.querySelector('#booking-problem').textContent.includes('Somebody was faster')`)
	s.first.do(chromedp.Click(chromedp.ID("booking-close")))
	s.first.until("the seat shows as taken", seat(id)+`.dataset.kind === 'taken'`)
}

func ownBookingCanBeCancelled(t *testing.T, s *story) {
	id := s.first.free()
	s.first.book(id, "Ada Lovelace")
	s.second.until("the other page shows it", seat(id)+`.dataset.kind === 'taken'`)
	s.first.do(chromedp.Click(chromedp.CSS(fmt.Sprintf(`button.seat[data-id="%s"]`, id))))
	s.first.until("the dialog offers to cancel", `document.querySelector('#booking').open && document.querySelector('#booking-submit').textContent === 'Cancel the booking'`)
	s.first.do(chromedp.Click(chromedp.ID("booking-submit")))
	s.first.until("the seat is free", seat(id)+`.dataset.kind === 'free'`)
	s.second.until("the seat is free on the other page", seat(id)+`.dataset.kind === 'free'`)
}

func keyboardMovesAndBooks(t *testing.T, s *story) {
	p := s.second
	p.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('#map button[tabindex="0"]').focus()`))
	for _, step := range []struct {
		key  string
		mod  kb.Modifier
		want string
	}{
		{kb.Home, kb.ModifierCtrl, "A1"},
		{kb.ArrowLeft, 0, "A1"},
		{kb.ArrowUp, 0, "A1"},
		{kb.ArrowRight, 0, "A2"},
		{kb.ArrowDown, 0, "B2"},
		{kb.ArrowLeft, 0, "B1"},
		{kb.End, 0, "B12"},
		{kb.PageDown, 0, "H12"},
		{kb.ArrowDown, 0, "H12"},
		{kb.Home, 0, "H1"},
		{kb.End, kb.ModifierCtrl, "H12"},
	} {
		p.do(chromedp.KeyEvent(step.key, chromedp.KeyModifiers(step.mod)))
		label := value[string](p, `document.activeElement.getAttribute('aria-label') ?? document.activeElement.tagName`)
		if !strings.HasPrefix(label, "Seat "+step.want+",") {
			t.Errorf("the focus is on %q, want seat %s", label, step.want)
		}
		if stops := value[int](p, `document.querySelectorAll('#map button[tabindex="0"]').length`); stops != 1 {
			t.Errorf("the map has %d tab stops, want 1", stops)
		}
	}
	id := value[string](p, `document.activeElement.dataset.id`)
	p.do(chromedp.KeyEvent(kb.Enter))
	p.until("Enter opens the dialog, with the focus on the name", `document.querySelector('#booking').open && document.activeElement.id === 'booking-name'`)
	p.do(chromedp.KeyEvent(kb.Escape))
	p.until("Escape closes it, and the focus is on the seat again", `!document.querySelector('#booking').open && document.activeElement === `+seat(id))
	p.do(chromedp.KeyEvent(kb.Enter))
	p.until("it opens again", `document.querySelector('#booking').open`)
	p.do(chromedp.KeyEvent("Keyboard"), chromedp.KeyEvent(kb.Enter))
	p.until("Enter books", seat(id)+`.dataset.kind === 'mine' && `+seat(id)+`.getAttribute('aria-label') === 'Seat H12, yours'`)
}

func levelOfThePage(t *testing.T, s *story) {
	for _, level := range []string{"eventual", "strong", "primary", "session"} {
		s.first.do(chromedp.Click(chromedp.CSS("label[for=level-" + level + "]")))
		s.first.until("a read at "+level+" was answered", fmt.Sprintf(`(() => {
			const last = document.querySelector('#log-list').firstElementChild;
			return last.querySelector('.what').textContent === 'read, %[1]s' && last.querySelector('.level').textContent === '%[1]s';
		})()`, level))
		primary := value[bool](s.first, `document.querySelector('#lane-read').textContent.includes('primary itself')`)
		if primary != (level == "primary") {
			t.Errorf("at %s, that the page asked for the primary itself is said: %v", level, primary)
		}
	}
}

func levelOfAllInstances(_ *testing.T, s *story) {
	for _, level := range []string{"strong", "session"} {
		s.first.do(chromedp.SetValue(chromedp.ID("central-select"), level), chromedp.Click(chromedp.CSS("#central button")))
		for _, p := range []*page{s.second, s.front} {
			p.until("the other instances follow", fmt.Sprintf(`document.querySelector('#level-central-text').textContent.includes('%[1]s') && document.querySelector('#central-select').value === '%[1]s'`, level))
		}
	}
}

// replicaCard finds the card of the nth replica, from 0.
func replicaCard(n int) string {
	return fmt.Sprintf(`document.querySelectorAll('.node-card:not(.is-primary)')[%d]`, n)
}

// hold presses the button of each replica.
func (s *story) hold(late bool) {
	for n := range 2 {
		s.first.do(chromedp.Evaluate[chromedp.Void](replicaCard(n) + `.querySelector('button').click()`))
		for _, p := range []*page{s.first, s.second, s.front} {
			p.until("every page shows what became of the replica", fmt.Sprintf("%s.classList.contains('is-late') === %v", replicaCard(n), late))
		}
	}
}

// lateReplicasShowTheDifference holds both replicas back: whoever asks one of
// them for a booking made afterwards gets a stale answer, always.
func lateReplicasShowTheDifference(t *testing.T, s *story) {
	s.hold(true)
	s.front.do(chromedp.Click(chromedp.ID("difference")))
	s.front.until("the comparison is over", `document.querySelectorAll('#difference-result .look').length === 24 && !document.querySelector('#difference').hasAttribute('aria-disabled')`)
	for row, level := range []string{"eventual", "session", "strong", "primary"} {
		// Each look says which server answered: A is the primary.
		looks := value[[]string](s.front, fmt.Sprintf(`[...document.querySelectorAll('#difference-result li')[%d].querySelectorAll('.look')]
			.map((look) => (look.querySelector('text')?.textContent === 'A' ? 'primary' : 'replica') + (look.classList.contains('is-stale') ? ' stale' : ' fresh'))`, row))
		stale := 0
		for _, look := range looks {
			if look == "replica stale" {
				stale++
			} else if look != "primary fresh" {
				t.Errorf("at %s an answer came from a %s, while both replicas are held back", level, look)
			}
		}
		if (stale > 0) != (level == "eventual") {
			t.Errorf("at %s: %v; stale answers are for eventual, and it should have some", level, looks)
		}
	}
}

func fight(t *testing.T, s *story) {
	s.front.do(chromedp.Click(chromedp.ID("fight")))
	s.front.until("the fight is over", `document.querySelectorAll('#fight-result .scores li').length === 4 && !document.querySelector('#fight').hasAttribute('aria-disabled')`)
	score := value[[]string](s.front, `[...document.querySelectorAll('#fight-result .number b')].map((b) => b.textContent)`)
	if got := strings.Join(score, " "); got != "1 99 0" {
		t.Errorf("booked, refused, errors: %s, want 1 99 0", got)
	}
	dots := value[[]int](s.front, `['booked', 'refused', 'error'].map((kind) => document.querySelectorAll('.crowd i[data-kind="' + kind + '"]').length)`)
	if dots[0] != 1 || dots[1] != 99 || dots[2] != 0 {
		t.Errorf("the crowd shows %v, want [1 99 0]", dots)
	}
	sums := value[[]string](s.front, `[...document.querySelectorAll('#fight-result .scores li')].map((li) => li.querySelector('b').textContent + ': ' + li.querySelector('.sum').textContent)`)
	for i, want := range []string{`^eventual: [1-9]\d* of \d+ stale$`, `^session: \d+ reads, all fresh$`, `^strong: \d+ reads, all fresh$`, `^primary: \d+ reads, all fresh$`} {
		if !regexp.MustCompile(want).MatchString(sums[i]) {
			t.Errorf("%q, want %s", sums[i], want)
		}
	}
}

func replicasCatchUp(_ *testing.T, s *story) { s.hold(false) }

// foreignTokenIsDropped gives a page a token that no service of this cluster
// made: it must work all the same, and say so.
func foreignTokenIsDropped(t *testing.T, s *story) {
	p := s.open(t, s.lab.Instances[0].URL())
	p.do(chromedp.Evaluate[chromedp.Void](`sessionStorage.setItem('token', 'pgr1_AAAA')`), chromedp.Reload())
	p.untilAlive()
	p.until("the token is dropped", `sessionStorage.getItem('token') === null`)
	p.clean("400")
}
