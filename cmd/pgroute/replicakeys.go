package main

// replicaKeys are the words that make one replica better than another.
func replicaKeys() []key {
	return []key{
		{name: "zone", value: "ZONE", live: true, help: "where this proxy is: replicas that the source puts into the same zone come first",
			set: func(s *settings, v string) error { s.preferences.Zone = v; return filled(v) }},
		{name: "slow_start", value: "DURATION", def: "10s", live: true,
			help: "how long a replica that came back is given more and more of its share of the reads; 0 for all of it at once",
			set: func(s *settings, v string) (err error) {
				s.preferences.SlowStart, err = parseDuration(v)
				if err == nil && s.preferences.SlowStart == 0 {
					s.preferences.SlowStart = -1 // router.Preferences: 0 is the default
				}
				return err
			}},
	}
}
