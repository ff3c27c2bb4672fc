package main

import (
	"strconv"
	"strings"

	"github.com/pgroute/pgroute/proxy"
)

// hidden stands for a secret that is set.
const hidden = "********"

// shown are all keys with their values, for SHOW CONFIG. Those that a reload
// leaves alone have the values of start.
func (s *settings) shown(start *settings) []proxy.Setting {
	list := []proxy.Setting{{Key: "rules", Value: strconv.Itoa(len(s.rules)), Default: "0", Changeable: true, Origin: s.origins["rules"]}}
	for _, k := range keys() {
		from := start
		if k.changeable() {
			from = s
		}
		value := strings.Join(from.texts[k.name], ",")
		if k.secret && value != "" {
			value = hidden
		}
		list = append(list, proxy.Setting{Key: k.name, Value: value, Default: k.def, Changeable: k.changeable(), Origin: from.origins[k.name]})
	}
	return list
}
