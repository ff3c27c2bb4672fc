package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// file is a configuration file that was read: its words in their order, not
// yet applied. Every word was checked.
type file struct {
	name   string
	values []fileValue
	rules  []fileRule
	ruled  bool // it has the word rules, be it with an empty list
}

// fileValue is one value of one key. A list has several of them.
type fileValue struct {
	key  *key
	text string
	at   *token.Token
}

// fileRule is one entry of rules.
type fileRule struct {
	user, database string
	values         []fileValue
	at             *token.Token
}

// has reports whether the file has a key. There may be no file.
func (f *file) has(name string) bool {
	return f != nil && slices.ContainsFunc(f.values, func(v fileValue) bool { return v.key.name == name })
}

// maxFile bounds a configuration file (I7).
const maxFile = 1 << 20

// readFile reads and checks a configuration file.
func readFile(name string) (*file, error) {
	info, err := os.Stat(name)
	if err == nil && info.Size() > maxFile {
		err = fmt.Errorf("%s: longer than %d bytes", name, maxFile)
	}
	if err != nil {
		return nil, &usageError{fmt.Errorf("read the configuration: %w", err)}
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, &usageError{fmt.Errorf("read the configuration: %w", err)}
	}
	return parseFile(name, data)
}

// parseFile checks a file's text. An error names the file, the line, the
// column and, where there is one, the key.
func parseFile(name string, data []byte) (*file, error) {
	f := &file{name: name}
	// Values whose start is a tab, a directive or the like are refused here.
	doc, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, f.broken(err)
	}
	var body ast.Node
	for _, d := range doc.Docs {
		if d.Body == nil {
			continue
		}
		if body != nil {
			return nil, f.errorf(d.Body.GetToken(), "the file has several documents")
		}
		body = d.Body
	}
	if body == nil {
		return f, nil
	}
	m, ok := mapping(body)
	if !ok {
		return nil, f.errorf(body.GetToken(), "want lines of KEY: VALUE, not %s", describe(body))
	}
	all := keys()
	var scratch settings
	for _, entry := range m {
		word, at, err := f.word(entry)
		if err != nil {
			return nil, err
		}
		if word == "rules" {
			f.ruled = true
			if err := f.readRules(all, entry.Value); err != nil {
				return nil, err
			}
			continue
		}
		k := find(all, word)
		if k == nil {
			return nil, f.errorf(at, "unknown key %q%s", word, suggest(all, word))
		}
		if f.values, err = f.readValue(f.values, k, entry.Value, &scratch); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// broken makes an error of what the YAML parser says.
func (f *file) broken(err error) error {
	var y yaml.Error
	if errors.As(err, &y) {
		return f.errorf(y.GetToken(), "%s", y.GetMessage())
	}
	return &usageError{fmt.Errorf("%s: %w", f.name, err)}
}

func (f *file) errorf(at *token.Token, format string, args ...any) error {
	line, column := 1, 1
	if at != nil && at.Position != nil {
		line, column = at.Position.Line, at.Position.Column
	}
	return usagef("%s:%d:%d: %s", f.name, line, column, oneLine(fmt.Sprintf(format, args...)))
}

// mapping returns the entries of a mapping.
func mapping(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// word returns the key of an entry.
func (f *file) word(entry *ast.MappingValueNode) (string, *token.Token, error) {
	at := entry.Key.GetToken()
	if s, ok := entry.Key.(*ast.StringNode); ok {
		return s.Value, at, nil
	}
	return "", at, f.errorf(at, "the key %q is not a word", entry.Key.String())
}

// readValue adds the value of a key, or of a list its values, to list.
func (f *file) readValue(list []fileValue, k *key, n ast.Node, scratch *settings) ([]fileValue, error) {
	nodes := []ast.Node{n}
	if seq, ok := n.(*ast.SequenceNode); ok && k.list {
		if nodes = seq.Values; len(nodes) == 0 {
			return nil, f.errorf(n.GetToken(), "%s: the list is empty", k.name)
		}
	}
	for _, n := range nodes {
		text, ok := scalar(n)
		if !ok {
			want := "one value"
			if k.list {
				want = "a value or a list of values"
			}
			return nil, f.errorf(n.GetToken(), "%s: want %s, not %s", k.name, want, describe(n))
		}
		if err := k.set(scratch, text); err != nil {
			return nil, f.errorf(n.GetToken(), "%s: %v", k.name, err)
		}
		list = append(list, fileValue{k, text, n.GetToken()})
	}
	return list, nil
}

// readRules reads the list of rules.
func (f *file) readRules(all []key, n ast.Node) error {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		return f.errorf(n.GetToken(), "rules: want a list, not %s", describe(n))
	}
	var scratch settings
	for _, n := range seq.Values {
		m, ok := mapping(n)
		if !ok {
			return f.errorf(n.GetToken(), "rules: want entries such as {user: reports, consistency: eventual}, not %s", describe(n))
		}
		r := fileRule{at: n.GetToken()}
		for _, entry := range m {
			word, at, err := f.word(entry)
			if err != nil {
				return err
			}
			if word == "user" || word == "database" {
				text, ok := scalar(entry.Value)
				if !ok || text == "" {
					return f.errorf(entry.Value.GetToken(), "rules: %s: want a name, not %s", word, describe(entry.Value))
				}
				if word == "user" {
					r.user = text
				} else {
					r.database = text
				}
				continue
			}
			switch k := find(all, word); {
			case k == nil:
				return f.errorf(at, "rules: unknown key %q%s", word, suggest(all, word))
			case !k.policy:
				return f.errorf(at, "rules: %s is the same for all clients and cannot be in a rule", word)
			default:
				if r.values, err = f.readValue(r.values, k, entry.Value, &scratch); err != nil {
					return err
				}
			}
		}
		f.rules = append(f.rules, r)
	}
	return nil
}

// scalar returns the text of a value that is neither a list nor a mapping.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return strings.TrimSpace(n.Value.Value), true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// describe names the kind of a node for an error.
func describe(n ast.Node) string {
	switch n := n.(type) {
	case *ast.NullNode:
		return "nothing"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		return "an anchor, alias or tag"
	case *ast.StringNode:
		return fmt.Sprintf("%q", n.Value)
	}
	if text, ok := scalar(n); ok {
		return text
	}
	return "this"
}

// suggest returns a hint for a word that looks like a key.
func suggest(all []key, word string) string {
	k := strings.ReplaceAll(strings.ToLower(word), "-", "_")
	if find(all, k) != nil && k != word {
		return fmt.Sprintf("; did you mean %s?", k)
	}
	return ""
}
