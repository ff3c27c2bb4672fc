package registry

import (
	"errors"
	"fmt"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/pgroute/pgroute/router"
)

// Settings are the central configuration: how much reads must see, unless a
// request says otherwise. They are one YAML document in PATH/config.
type Settings struct {
	Consistency router.Level
	// Wait is how long a read waits for a replica, and OnTimeout what it does
	// then.
	Wait      time.Duration
	OnTimeout router.OnTimeout
}

// DefaultSettings hold where the central configuration says nothing.
var DefaultSettings = Settings{Consistency: router.LevelSession, Wait: 100 * time.Millisecond, OnTimeout: router.OnTimeoutPrimary}

// maxWait bounds Settings.Wait: a request has its own deadline.
const maxWait = 5 * time.Second

// Change is a change of some settings: the words of the YAML document, and of
// the JSON that the service takes. Nil leaves a setting as it is.
type Change struct {
	Consistency *string `yaml:"consistency" json:"consistency"`
	Wait        *string `yaml:"wait" json:"wait"`
	OnTimeout   *string `yaml:"on_timeout" json:"on_timeout"`
}

// Apply returns s with the change, or an error that names what is wrong.
func (c Change) Apply(s Settings) (Settings, error) {
	var err error
	if c.Consistency != nil {
		if s.Consistency, err = router.ParseLevel(*c.Consistency); err != nil {
			return Settings{}, err
		}
	}
	if c.Wait != nil {
		if s.Wait, err = time.ParseDuration(*c.Wait); err != nil {
			return Settings{}, fmt.Errorf("wait: %w", err)
		}
		if s.Wait < 0 || s.Wait > maxWait {
			return Settings{}, fmt.Errorf("wait: %s is not between 0 and %s", s.Wait, maxWait)
		}
	}
	if c.OnTimeout != nil {
		if s.OnTimeout, err = router.ParseOnTimeout(*c.OnTimeout); err != nil {
			return Settings{}, err
		}
	}
	return s, nil
}

// ParseSettings reads the YAML document. What it does not mention has its
// default; an unknown key is an error, so that a slip of the pen is noticed.
func ParseSettings(text []byte) (Settings, error) {
	var c Change
	if len(text) > maxConfig {
		return Settings{}, errors.New("the configuration is too long")
	}
	if err := yaml.UnmarshalWithOptions(text, &c, yaml.Strict()); err != nil {
		return Settings{}, errors.New(yaml.FormatError(err, false, false))
	}
	return c.Apply(DefaultSettings)
}

// maxConfig bounds the YAML document.
const maxConfig = 16 << 10

// YAML is what ParseSettings reads.
func (s Settings) YAML() []byte {
	return fmt.Appendf(nil, "consistency: %s\nwait: %s\non_timeout: %s\n", s.Consistency, s.Wait, s.OnTimeout)
}
