package sqlclass

import (
	"strings"
	"unicode/utf8"
)

// Listen is one LISTEN or UNLISTEN.
type Listen struct {
	// Channel is the channel as the server names it; empty for UNLISTEN *.
	Channel string
	// On is true for LISTEN.
	On bool
}

// Listens returns what a text that has BindsListen does to channels, in its
// order. only is true if the text consists of such statements and nothing
// else, and every one of them is understood: a name that the server would
// refuse, shorten or fold by its locale is not.
func Listens(sql []byte, opt Options) (ops []Listen, only bool) {
	if opt.UnsafeEncoding && !ascii(sql) {
		return nil, false
	}
	var hint Hint
	var s scanner
	s.init(sql, opt.StandardConformingStrings, &hint)
	only = true
	for {
		for s.cur.kind == kindSemicolon {
			s.advance()
		}
		if s.cur.kind == kindEnd {
			return ops, only && !s.bad && len(ops) > 0
		}
		on := s.cur.is(wordListen)
		if !on && !s.cur.is(wordUnlisten) {
			only = false
			s.skipStatement()
			continue
		}
		s.advance()
		op, ok := Listen{On: on}, false
		if !on && s.cur.kind == kindOperator && string(s.text(&s.cur)) == "*" {
			ok = true
		} else {
			op.Channel, ok = s.channel()
		}
		s.advance()
		if !ok || !s.cur.ends() {
			only = false
			s.skipStatement()
			continue
		}
		ops = append(ops, op)
	}
}

// skipStatement goes to the end of the statement.
func (s *scanner) skipStatement() {
	for !s.cur.ends() {
		s.advance()
	}
}

// channel returns the name of the channel that the current token is.
func (s *scanner) channel() (string, bool) {
	t := &s.cur
	switch t.kind {
	case kindWord:
		if t.end-t.start > maxName || t.marks&markHigh != 0 {
			return "", false
		}
	case kindQuoted:
		if t.end-t.start-2 > maxName || t.marks&markHigh != 0 && !utf8.Valid(s.text(t)) {
			return "", false
		}
	default:
		return "", false
	}
	name := string(s.name(t))
	if _, reserved := notChannels[name]; reserved && t.kind == kindWord {
		return "", false
	}
	return name, true
}

// notChannels are the keywords that are no ColId (gram.y), in all versions
// together: a name that only some of them reserve is left to the server.
var notChannels = func() map[string]struct{} {
	m := make(map[string]struct{})
	for _, w := range strings.Fields(`
		all analyse analyze and any array as asc asymmetric both case cast check collate column constraint create
		current_catalog current_date current_role current_time current_timestamp current_user default deferrable desc
		distinct do else end except false fetch for foreign from grant group having in initially intersect into lateral
		leading limit localtime localtimestamp not null offset on only or order placing primary references returning
		select session_user some symmetric system_user table then to trailing true union unique user using variadic
		when where window with
		authorization binary collation concurrently cross current_schema freeze full ilike inner is isnull join left
		like natural notnull outer overlaps right similar tablesample verbose`) {
		m[w] = struct{}{}
	}
	return m
}()

// AsksChannels reports whether a text asks for nothing but the channels that
// the session listens to, in one of the two usual ways.
func AsksChannels(sql []byte, opt Options) bool {
	var hint Hint
	var s scanner
	s.init(sql, opt.StandardConformingStrings, &hint)
	next := func(text string) bool {
		if s.cur.kind == kindQuoted || !strings.EqualFold(string(s.text(&s.cur)), text) {
			return false
		}
		s.advance()
		return true
	}
	if !next("select") {
		return false
	}
	if next("*") && !next("from") {
		return false
	}
	if next("pg_catalog") && !next(".") {
		return false
	}
	if !next("pg_listening_channels") || !next("(") || !next(")") {
		return false
	}
	for s.cur.kind == kindSemicolon {
		s.advance()
	}
	return s.cur.kind == kindEnd && !s.bad
}
