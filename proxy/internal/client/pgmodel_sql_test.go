package client_test

import (
	"maps"
	"strings"

	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// ends reports whether a statement may run in a failed transaction.
func ends(sql string) bool {
	return strings.HasPrefix(sql, "commit") || strings.HasPrefix(sql, "rollback")
}

func returnsRows(sql string) bool {
	return strings.HasPrefix(sql, "select") || strings.HasPrefix(sql, "SELECT") || strings.HasPrefix(sql, "show")
}

// run runs one statement and reports whether it succeeded.
func (p *pgmodel) run(sql string, simple bool) bool {
	if p.tx == 'E' && !ends(sql) {
		p.fail("25P02", "current transaction is aborted")
		return false
	}
	tag, rows, code := p.statementOf(sql)
	if code != "" {
		p.fail(code, "no")
		return false
	}
	if p.copyIn {
		p.out = append(p.out, message('G', "\x00\x00\x00")...)
		return true
	}
	if rows != nil {
		if simple {
			p.out = wire.AppendTextColumns(p.out, 0, "c")
		}
		for _, r := range rows {
			p.out = wire.AppendTextRow(p.out, r)
		}
	}
	p.out = wire.AppendCommandComplete(p.out, tag)
	return true
}

// statementOf does what a statement of the vocabulary does.
func (p *pgmodel) statementOf(sql string) (tag string, rows []string, code string) {
	word, rest, _ := strings.Cut(sql, " ")
	switch strings.ToLower(word) {
	case "begin", "commit", "rollback", "savepoint":
		tag, code = p.transaction(sql, rest)
		return tag, nil, code
	}
	p.start()
	switch strings.ToLower(word) {
	case "set", "reset":
		return p.setting(strings.ToLower(word), rest), nil, ""
	case "show":
		return "SHOW", []string{p.now.cur[rest]}, ""
	case "discard":
		if p.block {
			return "", nil, "25001"
		}
		p.now = session{maps.Clone(p.reset), maps.Clone(p.reset), map[string]bool{}, map[string]bool{}}
		clear(p.named)
		p.unnamed = nil
		return "DISCARD ALL", nil, ""
	case "deallocate":
		if rest == "all" {
			clear(p.named)
			return "DEALLOCATE ALL", nil, ""
		}
		if _, ok := p.named[rest]; !ok {
			return "", nil, "26000"
		}
		delete(p.named, rest)
		return "DEALLOCATE", nil, ""
	case "listen":
		if p.replica {
			return "", nil, "25006"
		}
		p.now.listen[rest] = true
		return "LISTEN", nil, ""
	case "copy":
		p.copyIn = true
		return "", nil, ""
	}
	switch {
	case strings.HasPrefix(sql, "SELECT pg_catalog.set_config(E'"): // of an alignment
		f := strings.Split(sql, "'")
		p.now.cur[f[1]], p.now.kept[f[1]] = f[3], f[3]
		return "SELECT 1", []string{f[3]}, ""
	case strings.HasPrefix(sql, "SELECT EXISTS ("): // what pins the client
		p.out = wire.AppendTextRow(p.out, p.pins(sql)...)
		return "SELECT 1", nil, ""
	case strings.HasPrefix(sql, "select 1 / 0"):
		return "", nil, "22012"
	case sql == "select v from tmp":
		p.ran(sql)
		if !p.now.temp["tmp"] {
			return "", nil, "42P01"
		}
		return "SELECT 1", []string{"temporary"}, ""
	case word == "select":
		p.ran(sql)
		if code := p.trouble; code != "" && !p.block {
			p.trouble = ""
			return "", nil, code
		}
		row := rest
		for _, name := range settingsOf {
			row += "|" + p.now.cur[name]
		}
		return "SELECT 1", []string{row}, ""
	case p.replica || p.ro:
		return "", nil, "25006"
	case word == "insert":
		p.ran(sql)
		p.wrote(sql)
		p.dirty = true
		return "INSERT 0 1", nil, ""
	case sql == "create temp table tmp (v text)":
		if p.now.temp["tmp"] {
			return "", nil, "42P07"
		}
		p.now.temp["tmp"] = true
		return "CREATE TABLE", nil, ""
	}
	return "", nil, "42601"
}

func (p *pgmodel) transaction(sql, rest string) (tag, code string) {
	switch {
	case strings.HasPrefix(sql, "begin"):
		p.start()
		if !p.block {
			p.block, p.tx = true, 'T'
			p.ro = strings.Contains(rest, "read only")
		}
		return "BEGIN", ""
	case sql == "commit" || sql == "commit and chain":
		failed, ro := p.tx == 'E', p.ro
		if rest == "and chain" && !p.block {
			return "", "25P01"
		}
		p.end(!failed)
		if rest == "and chain" {
			p.start()
			p.block, p.tx, p.ro = true, 'T', ro
		}
		if failed {
			return "ROLLBACK", ""
		}
		return "COMMIT", ""
	case sql == "rollback":
		p.end(false)
		return "ROLLBACK", ""
	case !p.block:
		return "", "25P01"
	case strings.HasPrefix(sql, "savepoint"):
		p.points = append(p.points, savepoint{rest, p.now.clone()})
		return "SAVEPOINT", ""
	}
	name := strings.TrimPrefix(rest, "to ")
	for i := len(p.points) - 1; i >= 0; i-- {
		if p.points[i].name == name {
			p.now = p.points[i].was.clone()
			p.points = p.points[:i+1]
			p.tx = 'T'
			return "ROLLBACK", ""
		}
	}
	return "", "3B001"
}

// setting does SET and RESET, as a client writes them and as an alignment does.
func (p *pgmodel) setting(verb, rest string) string {
	local := false
	if after, ok := strings.CutPrefix(rest, "local "); ok {
		rest, local = after, true
	}
	name, value, _ := strings.Cut(rest, " ")
	name = strings.ToLower(strings.ReplaceAll(name, `"`, ""))
	value = strings.Trim(strings.TrimPrefix(value, "= "), "'")
	tag := strings.ToUpper(verb)
	if verb == "reset" {
		if name == "all" {
			for _, n := range settingsOf {
				if n != "role" {
					p.now.cur[n], p.now.kept[n] = p.reset[n], p.reset[n]
				}
			}
			return tag
		}
		value = p.reset[name]
	}
	p.now.cur[name] = value
	if !local {
		p.now.kept[name] = value
	}
	return tag
}

// pins answers the question what of the kinds it names is still there.
func (p *pgmodel) pins(sql string) (row []string) {
	for _, part := range strings.Split(sql, "EXISTS (")[1:] {
		there := "f"
		if strings.Contains(part, "pg_my_temp_schema") && len(p.now.temp) > 0 ||
			strings.Contains(part, "pg_listening_channels") && len(p.now.listen) > 0 {
			there = "t"
		}
		row = append(row, there)
	}
	return row
}
