package client

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

// literal is the value of one SQL literal or identifier.
func literal(v string) string {
	v = strings.TrimSpace(v)
	if len(v) >= 2 && v[0] == '\'' && v[len(v)-1] == '\'' {
		return strings.ReplaceAll(v[1:len(v)-1], "''", "'")
	}
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		return strings.ReplaceAll(v[1:len(v)-1], `""`, `"`)
	}
	return v
}

func (m *Machine) show(name string) (string, *wire.Report) {
	p := &m.policy
	switch name {
	case "token":
		return lsn.EncodeToken(m.env.Router.TokenPosition(m.ticket.floor)), nil
	case "consistency":
		return p.Level.String(), nil
	case "scope":
		return p.Scope.String(), nil
	case "wait":
		return p.Wait.String(), nil
	case "on_timeout":
		return p.OnTimeout.String(), nil
	case "max_staleness":
		return p.MaxStaleness.String(), nil
	case "report_token":
		return onOff(p.ReportToken), nil
	case "transaction_reads":
		return transactionReads(p.UntilWrite), nil
	}
	return "", unknownSetting(name)
}

func unknownSetting(name string) *wire.Report {
	return &wire.Report{Severity: "ERROR", Code: sqlstate.InvalidParameterValue,
		Message: fmt.Sprintf("unrecognized setting %q", "pgroute."+name),
		Hint:    "Settings are consistency, scope, max_staleness, wait, on_timeout, report_token, transaction_reads and token; last_route can be shown."}
}

func transactionReads(untilWrite bool) string {
	if untilWrite {
		return "until-write"
	}
	return "primary"
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

// set changes one pgroute setting.
func (m *Machine) set(name, value string, local bool) *wire.Report {
	if name == "token" {
		return m.setToken(value)
	}
	if local && m.tx == 'I' {
		m.c.notice = nil
		return nil // as in PostgreSQL, it has no effect outside of a transaction
	}
	if local && !m.local {
		m.local, m.afterLocal = true, m.policy
	}
	if r := m.policy.Set(name, value); r != nil {
		return r
	}
	if !local && m.local {
		m.afterLocal.Set(name, value)
	}
	if name == "scope" {
		m.chain.SetScope(m.policy.Scope)
	}
	return nil
}

// Set changes one setting of the policy by its name without prefix.
func (p *Policy) Set(name, value string) *wire.Report {
	var err error
	switch name {
	case "consistency":
		var l router.Level
		if l, err = router.ParseLevel(value); err == nil {
			p.Level = l
		}
	case "scope":
		var s router.Scope
		if s, err = router.ParseScope(value); err == nil {
			p.Scope = s
		}
	case "on_timeout":
		var o router.OnTimeout
		if o, err = router.ParseOnTimeout(value); err == nil {
			p.OnTimeout = o
		}
	case "wait":
		err = parseDuration(value, &p.Wait)
	case "max_staleness":
		err = parseDuration(value, &p.MaxStaleness)
	case "report_token":
		switch strings.ToLower(value) {
		case "on", "true", "yes", "1":
			p.ReportToken = true
		case "off", "false", "no", "0":
			p.ReportToken = false
		default:
			err = fmt.Errorf("not a Boolean")
		}
	case "transaction_reads":
		switch strings.ToLower(value) {
		case "primary":
			p.UntilWrite = false
		case "until-write":
			p.UntilWrite = true
		default:
			err = fmt.Errorf("it is primary or until-write")
		}
	default:
		return unknownSetting(name)
	}
	if err != nil {
		return &wire.Report{Severity: "ERROR", Code: sqlstate.InvalidParameterValue,
			Message: fmt.Sprintf("invalid value for setting %q: %q", "pgroute."+name, value),
			Detail:  err.Error() + "."}
	}
	return nil
}

// parseDuration reads 250ms, 1s, or a bare number of milliseconds as
// PostgreSQL has it.
func parseDuration(v string, d *time.Duration) error {
	x, err := time.ParseDuration(v)
	if err != nil {
		n, err2 := strconv.ParseInt(v, 10, 32)
		if err2 != nil {
			return fmt.Errorf("not a duration such as 100ms or 2s")
		}
		x = time.Duration(n) * time.Millisecond
	}
	if x < 0 || x > 24*time.Hour {
		return fmt.Errorf("outside of the range from 0 to 24h")
	}
	*d = x
	return nil
}

// reset takes one setting back to what it was at startup.
func (m *Machine) reset(name string) *wire.Report {
	s, p := &m.start, &m.policy
	switch name {
	case "consistency":
		p.Level = s.Level
	case "scope":
		p.Scope = s.Scope
		m.chain.SetScope(p.Scope)
	case "wait":
		p.Wait = s.Wait
	case "on_timeout":
		p.OnTimeout = s.OnTimeout
	case "max_staleness":
		p.MaxStaleness = s.MaxStaleness
	case "report_token":
		p.ReportToken = s.ReportToken
	case "transaction_reads":
		p.UntilWrite = s.UntilWrite
	default:
		return unknownSetting(name)
	}
	return nil
}
