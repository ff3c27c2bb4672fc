package sqlclass

// publishRelations notes the relations that are not read on a replica. Where
// several have one name, in different schemas, the worst counts.
func (l *loader) publishRelations() {
	for _, u := range l.relations {
		l.publishTime(u, u.name)
		if u.safe() {
			continue
		}
		n := l.cat.names[u.name]
		if n.relation == ReasonRead || n.flags&nameObserves != 0 {
			n.relation = u.reason
		}
		n.flags &^= nameObserves // of a view of the server's with the same name
		if u.dirty {
			n.flags |= nameUnclean
		}
		l.special(u.name, n)
	}
}

func (l *loader) publishTypes() {
	for _, u := range l.types {
		l.publishTime(u, u.name, u.array)
		if u.safe() {
			continue
		}
		for _, key := range [...]string{u.name, u.array} {
			if key == "" {
				continue
			}
			n := l.cat.names[key]
			n.flags |= nameType
			if u.dirty {
				n.flags |= nameUnclean
			}
			l.special(key, n)
		}
	}
}

func (l *loader) publishRoutines() {
	for _, u := range l.routines {
		n := l.cat.names[u.name]
		n.function |= hasUser
		if u.argument {
			n.function |= hasArguments
		}
		if u.dirty || u.opaque {
			n.function |= userUnclean | userUnsafe
		}
		if u.time {
			n.function |= tellsTime
		}
		if u.volatile || u.unsafe || u.unproven {
			n.function |= userUnsafe
		}
		if u.changes {
			n.function |= userChanges | userUnsafe
		}
		l.cat.names[u.name] = n
	}
}

// publishOperators keeps the operators that are not safe. A C function of an
// extension is believed here: it runs in every comparison.
func (l *loader) publishOperators() {
	for _, u := range l.operators {
		if !u.unsafe && !u.dirty {
			continue
		}
		l.cat.operators[u.name] = struct{}{}
		l.cat.dirtyOperators = l.cat.dirtyOperators || u.dirty
		switch u.name {
		case "<>":
			l.cat.operators["!="] = struct{}{}
			l.cat.implicitOperator = true
			l.cat.dirtyHidden = l.cat.dirtyHidden || u.dirty
		case "=", "<", ">", "<=", ">=", "~~", "!~~", "~~*", "!~~*", "~", "!~":
			l.cat.implicitOperator = true
			l.cat.dirtyHidden = l.cat.dirtyHidden || u.dirty
		}
	}
}

// publishHidden judges what runs without being named.
func (l *loader) publishHidden() {
	for _, row := range l.rows("casts", hiddenQuery, 2) {
		u := unit{}
		l.refer(&u, "o:", row[1])
		for _, target := range l.units["o:"+row[1]] {
			dirty := target.dirty || target.opaque && !target.library
			u.dirty = u.dirty || dirty
			u.unsafe = u.unsafe || target.volatile || target.unsafe || dirty
		}
		l.cat.dirtyHidden = l.cat.dirtyHidden || u.dirty
		switch {
		case !u.unsafe:
		case row[0] == "cast":
			l.cat.userCasts = true
		default:
			l.cat.implicitOperator = true
		}
	}
}

func (l *loader) publishTriggers() {
	dirty, changes := l.writes.dirty || l.cat.dirtyHidden, l.writes.changes
	for _, row := range l.rows("triggers", triggersQuery, 1) {
		for _, u := range l.units["o:"+row[0]] {
			dirty = dirty || u.dirty || u.opaque
			changes = changes || u.changes
		}
	}
	l.cat.DirtyTriggers, l.cat.changingTriggers = dirty, changes
}
