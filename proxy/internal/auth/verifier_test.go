package auth_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/proxy/internal/auth"
)

// pencil is the verifier of the example in RFC 7677: the password "pencil" and
// its salt.
const pencil = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

func TestVerifierOfPassword(t *testing.T) {
	parsed, err := auth.ParseVerifier(pencil)
	if err != nil {
		t.Fatal(err)
	}
	derived, err := auth.NewVerifier("pencil", parsed.Salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	if got := derived.Secret(); got != pencil {
		t.Errorf("derived %s", got)
	}
}

func TestParseVerifierIsStrict(t *testing.T) {
	edit := func(old, repl string) string {
		if !strings.Contains(pencil, old) {
			t.Fatalf("%q is not in the secret", old)
		}
		return strings.Replace(pencil, old, repl, 1)
	}
	for why, secret := range map[string]string{
		"no password":              "",
		"an MD5 secret":            "md5a6343a68d964ca596d9752250d54bb8a",
		"another mechanism":        edit("SHA-256", "SHA-512"),
		"lower case":               edit("SCRAM", "scram"),
		"no iterations":            edit("4096:", ":"),
		"zero iterations":          edit("4096", "0"),
		"a sign":                   edit("4096", "+4096"),
		"a leading zero":           edit("4096", "04096"),
		"more than an int32":       edit("4096", "2147483648"),
		"no salt":                  edit("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
		"unpadded salt":            edit("gQ==$", "gQ$"),
		"bits after the salt":      edit("gQ==$", "gR==$"),
		"a line end in the salt":   edit("W22", "W2\n2"),
		"an endless salt":          edit("W22Z", strings.Repeat("W22Z", 1000)),
		"no keys":                  "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==",
		"one key":                  pencil[:strings.LastIndex(pencil, ":")],
		"a short StoredKey":        edit("WG5d", ""),
		"a line end in ServerKey":  edit("wfPL", "wf\nL"),
		"something after the keys": pencil + "$",
	} {
		if v, err := auth.ParseVerifier(secret); err == nil {
			t.Errorf("%s: accepted as %s", why, v.Secret())
		} else if len(secret) > 20 && strings.Contains(err.Error(), "W22") {
			t.Errorf("%s: the error quotes the secret: %v", why, err)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	v, err := auth.ParseVerifier(pencil)
	if err != nil {
		t.Fatal(err)
	}
	k := auth.Keys{ClientKey: v.StoredKey, StoredKey: v.StoredKey, ServerKey: v.ServerKey}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, value := range []any{v, &v, k, &k} {
			got := fmt.Sprintf(format, value)
			if len(got) > 30 {
				t.Errorf("%s of %T prints %s", format, value, got)
			}
		}
	}
}

func TestZeroAndEqual(t *testing.T) {
	v, err := auth.ParseVerifier(pencil)
	if err != nil {
		t.Fatal(err)
	}
	a := &auth.Keys{ClientKey: v.StoredKey, StoredKey: v.StoredKey, ServerKey: v.ServerKey}
	b := *a
	if !a.Equal(&b) || a.Equal(nil) || !(*auth.Keys)(nil).Equal(nil) {
		t.Error("Equal is wrong for equal keys or nil")
	}
	b.ServerKey[31]++
	if a.Equal(&b) {
		t.Error("different keys are equal")
	}
	a.Zero()
	if *a != (auth.Keys{}) {
		t.Error("Zero leaves something")
	}
}

func FuzzParseVerifier(f *testing.F) {
	f.Add(pencil)
	f.Add("")
	f.Add("SCRAM-SHA-256$1:AA==$:")
	f.Add("md5a6343a68d964ca596d9752250d54bb8a")
	f.Fuzz(func(t *testing.T, secret string) {
		v, err := auth.ParseVerifier(secret)
		if err != nil {
			return
		}
		if v.Secret() != secret {
			t.Errorf("%q was accepted and is %q", secret, v.Secret())
		}
	})
}
