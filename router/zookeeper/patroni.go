package zookeeper

import (
	"errors"
	"strings"

	"github.com/pgroute/pgroute/router"
)

// NewPatroni returns a Source for the tree that Patroni keeps in ZooKeeper.
// Config.Path is NAMESPACE/SCOPE as in Patroni's configuration, such as
// service/batman; a group of Citus is one level deeper. It checks the
// configuration and connects to nothing.
//
// It needs no right but to read. The leader is whom the key leader names;
// what the members say of their roles and positions is not believed.
func NewPatroni(cfg Config) (*Source, error) {
	path, err := patroniPath(cfg.Path)
	if err != nil {
		return nil, err
	}
	cfg.Path = path
	place, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	return &Source{cfg: cfg, place: place, view: newPatroniView}, nil
}

// patroniPath makes a path of NAMESPACE/SCOPE as Patroni does: slashes at the
// ends and double ones do not count. The namespace may be empty: /SCOPE.
func patroniPath(text string) (string, error) {
	names := strings.FieldsFunc(text, func(r rune) bool { return r == '/' })
	if len(names) == 0 || len(names) == 1 && !strings.HasPrefix(text, "/") {
		return "", errors.New("want NAMESPACE/SCOPE as in Patroni's configuration, such as service/batman")
	}
	return "/" + strings.Join(names, "/"), nil
}

// switchover says which change of the leader is announced. A key that is left
// over from an earlier one names somebody who does not lead any more.
func switchover(key router.Switchover, leader string) router.Switchover {
	switch {
	case key.IsZero():
	case key.Leader == "" && key.Candidate == leader, key.Leader != "" && leader != "" && key.Leader != leader:
		return router.Switchover{}
	case key.Leader == "":
		key.Leader = leader
	}
	return key
}
