package zookeeper

import (
	"context"
	"time"

	"github.com/pgroute/pgroute/router"
)

// Source reads the topology from ZooKeeper: New makes one for pgroute's own
// layout, NewPatroni one for Patroni's. It implements router.Source.
type Source struct {
	cfg   Config
	place place
	// view makes what a Watch looks through.
	view func(s *Source, publish func(router.Candidates)) view
}

var _ router.Source = (*Source)(nil)

// New returns a Source for pgroute's own layout below Config.Path. It checks
// the configuration and connects to nothing.
func New(cfg Config) (*Source, error) {
	place, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	return &Source{cfg: cfg, place: place, view: newOwnView}, nil
}

// Watch implements router.Source. As long as the session with ZooKeeper lives
// it publishes at least every third of the session timeout, with a new
// Confirmed; while ZooKeeper is away it publishes nothing. A path that does
// not exist yet is a topology without nodes and without a primary. The values
// that it publishes share their nodes: the receiver must not change them.
func (s *Source) Watch(ctx context.Context, publish func(router.Candidates)) error {
	return follow(ctx, &s.cfg, s.place, s.view(s, publish))
}

// last is what a view published last.
type last struct {
	value   router.Candidates
	cfg     *Config
	handOut func(router.Candidates)
}

// publish implements view.
func (l *last) publish(confirmed time.Time, _ bool) {
	l.value.Confirmed, l.value.ValidFor = confirmed, l.cfg.SessionTimeout
	l.handOut(l.value)
}
