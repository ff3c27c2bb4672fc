package main

import (
	"slices"

	"github.com/pgroute/pgroute/router/zookeeper"
)

// reload reads the file again, with the flags of the start, and the
// certificates. If one of them is bad nothing changes.
func (p *process) reload() {
	f, err := p.args.readFile()
	var s *settings
	if err == nil {
		s, err = p.reloadWith(f)
	}
	if err != nil {
		p.refuse(err)
		return
	}
	if p.args.config == "" {
		p.log.Info("the certificates were read again; for more there must be a file: start with --config")
		return
	}
	p.log.Info("the configuration was read again", "file", p.args.config,
		"consistency", s.policy.Consistency.String(), "rules", len(s.rules))
}

// reloadWith applies a file together with what ZooKeeper has: with what was
// refused beside the file before, if that makes sense now.
func (p *process) reloadWith(f *file) (*settings, error) {
	if p.shared == nil {
		return p.apply(f, nil)
	}
	if held := p.shared.held; held != nil {
		if s, err := p.apply(f, held); err == nil {
			p.shared.good, p.shared.held = held, nil
			p.log.Info("the configuration of ZooKeeper is applied now", "path", p.shared.where)
			return s, nil
		}
	}
	return p.apply(f, p.shared.good)
}

// renew applies what PATH/config says now. If that is bad nothing changes.
func (p *process) renew(d zookeeper.Document) {
	c := p.shared
	if !c.take(d) {
		return
	}
	if !d.Exists && c.good == nil {
		return // There was none, or none that made sense.
	}
	if !d.Exists {
		if _, err := p.apply(p.file, nil); err != nil {
			p.refuse(err)
			return
		}
		c.good = nil
		p.log.Info("ZooKeeper has no configuration for all proxies any more; the file's stands", "path", c.where)
		return
	}
	f, err := c.parse(d.Data)
	if err != nil {
		p.refuse(err)
		return
	}
	s, err := p.apply(p.file, f)
	if err != nil {
		c.held = f
		p.refuse(err, "path", c.where, "version", d.Version)
		return
	}
	c.good = f
	p.log.Info("the configuration of ZooKeeper is applied", "path", c.where, "version", d.Version,
		"consistency", s.policy.Consistency.String(), "rules", len(s.rules))
}

// refuse tells of a configuration that makes no sense, and counts it.
func (p *process) refuse(err error, more ...any) {
	p.refused.configs.Add(1)
	p.log.Error("the configuration is refused; the old one stays", append([]any{"error", oneLine(err.Error())}, more...)...)
}

// apply makes the server work with a file and what ZooKeeper has for all
// proxies, of which either may be nil. After an error nothing has changed.
func (p *process) apply(f, shared *file) (*settings, error) {
	s, err := p.args.merge(f, shared)
	if err == nil {
		cfg := s.config(p.log.Logger)
		cfg.Settings = s.shown(p.settings)
		err = p.srv.Reload(cfg)
	}
	if err != nil {
		return nil, err
	}
	p.log.level.Set(s.logLevel)
	if fixed := p.settings.fixedChanges(s); len(fixed) > 0 {
		p.log.Warn("these settings change with a restart only", "keys", fixed)
	}
	p.settings.policy, p.settings.rules = s.policy, s.rules
	p.file = f
	return s, nil
}

// fixedChanges names the keys that differ in o and that a reload leaves alone.
func (s *settings) fixedChanges(o *settings) []string {
	var list []string
	for _, k := range keys() {
		if !k.changeable() && !slices.Equal(s.texts[k.name], o.texts[k.name]) {
			list = append(list, k.name)
		}
	}
	return list
}
