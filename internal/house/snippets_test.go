package house

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// fence is a block of code in a page, with the comment before it that says where
// the code stands.
var fence = regexp.MustCompile("(?ms)^(?:<!-- from ([^ ]+) -->\n)?```([a-z]*)\n(.*?)^```$")

// pages hold code that somebody will copy.
var pages = []string{"docs/integrate.md"}

// TestSnippetsAreTested: code of a programming language stands in a file that is
// compiled and tested, word for word.
func TestSnippetsAreTested(t *testing.T) {
	root := filepath.Join("..", "..")
	for _, page := range pages {
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		found := fence.FindAllStringSubmatch(string(text), -1)
		if len(found) < 10 {
			t.Errorf("%s: only %d blocks were found", page, len(found))
		}
		for _, m := range found {
			from, lang, code := m[1], m[2], m[3]
			first, _, _ := strings.Cut(code, "\n")
			switch {
			case from == "" && lang == "":
			case from == "":
				t.Errorf("%s: nothing says where %q is tested", page, first)
			default:
				source, err := os.ReadFile(filepath.Join(root, from))
				if err != nil {
					t.Errorf("%s: %v", page, err)
				} else if !strings.Contains(string(source), code) {
					t.Errorf("%s: what begins with %q does not stand in %s", page, first, from)
				}
			}
		}
	}
}
