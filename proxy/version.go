package proxy

import "runtime/debug"

// Version returns the version of this module as the build recorded it: a tag,
// or a commit, or "devel".
func Version() string {
	const devel = "devel"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return devel
	}
	if info.Main.Path == modulePath && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	for _, d := range info.Deps {
		if d.Path == modulePath && d.Version != "" && d.Version != "(devel)" {
			return d.Version
		}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 && info.Main.Path == modulePath {
			return devel + "-" + s.Value[:12]
		}
	}
	return devel
}

const modulePath = "github.com/pgroute/pgroute"
