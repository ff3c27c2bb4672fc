package main

import "slices"

// reload reads the file again, with the flags of the start, and the
// certificates. If one of them is bad nothing changes.
func (p *process) reload() {
	s, err := load(p.args)
	if err == nil {
		err = p.srv.Reload(s.config(p.log.Logger))
	}
	if err != nil {
		p.log.Error("the configuration is refused; the old one stays", "error", oneLine(err.Error()))
		return
	}
	p.log.level.Set(s.logLevel)
	if fixed := p.settings.fixedChanges(s); len(fixed) > 0 {
		p.log.Warn("these settings change with a restart only", "keys", fixed)
	}
	p.settings.policy, p.settings.rules = s.policy, s.rules
	if p.args.config == "" {
		p.log.Info("the certificates were read again; for more there must be a file: start with --config")
		return
	}
	p.log.Info("the configuration was read again", "file", p.args.config,
		"consistency", s.policy.Consistency.String(), "rules", len(s.rules))
}

// fixedChanges names the keys that differ in o and that a reload leaves alone.
func (s *settings) fixedChanges(o *settings) []string {
	var list []string
	for _, k := range keys() {
		if !k.policy && !k.live && !slices.Equal(s.texts[k.name], o.texts[k.name]) {
			list = append(list, k.name)
		}
	}
	return list
}
