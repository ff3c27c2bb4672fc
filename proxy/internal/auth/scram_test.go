package auth_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/proxy/internal/auth"
)

func verifier(t testing.TB) auth.Verifier {
	t.Helper()
	v, err := auth.ParseVerifier(pencil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// The one complete exchange that a standard prints.
func TestExchangeOfRFC7677(t *testing.T) {
	const (
		clientFirst = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
		serverFirst = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
		clientFinal = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
		serverFinal = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
	)
	s := auth.NewServer(verifier(t))
	s.SetNonce("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
	got, err := s.First([]byte(clientFirst))
	if err != nil || string(got) != serverFirst {
		t.Fatalf("server-first-message %q, %v", got, err)
	}
	got, keys, err := s.Final([]byte(clientFinal))
	if err != nil || string(got) != serverFinal {
		t.Fatalf("server-final-message %q, %v", got, err)
	}

	// With the keys that the exchange gave away we can be the client. The RFC
	// has a user name in its message and we do not, so this one is our own.
	login(t, auth.NewClient(keys), auth.NewServer(verifier(t)), nil)
}

// login runs a whole exchange and returns the keys that the server recovered.
func login(t *testing.T, c *auth.Client, s *auth.Server, want error) *auth.Keys {
	t.Helper()
	challenge, err := s.First(c.First())
	if err != nil {
		t.Fatal(err)
	}
	final, err := c.Final(challenge)
	if err != nil {
		t.Fatal(err)
	}
	outcome, keys, err := s.Final(final)
	if !errors.Is(err, want) {
		t.Fatalf("the exchange ended with %v instead of %v", err, want)
	}
	if err != nil {
		if outcome != nil || keys != nil {
			t.Error("a failed exchange gives something away")
		}
		return nil
	}
	if err = c.Verify(outcome); err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestLogin(t *testing.T) {
	v := verifier(t)
	keys := login(t, auth.NewPasswordClient("pencil"), auth.NewServer(v), nil)
	login(t, auth.NewClient(keys), auth.NewServer(v), nil)
	login(t, auth.NewPasswordClient("pencils"), auth.NewServer(v), auth.ErrProof)
	login(t, auth.NewPasswordClient("pencil"), auth.NewDoomedServer(v), auth.ErrProof)

	// The same password with another salt is another verifier.
	other, err := auth.NewVerifier("pencil", []byte("another salt"), 1)
	if err != nil {
		t.Fatal(err)
	}
	login(t, auth.NewPasswordClient("pencil"), auth.NewServer(other), nil)
	login(t, auth.NewClient(keys), auth.NewServer(other), auth.ErrProof)

	keys.Zero()
	login(t, auth.NewClient(keys), auth.NewServer(v), auth.ErrProof)
}

func TestMockIsSteadyPerUser(t *testing.T) {
	m := auth.NewMock()
	a, b := m.Verifier("alice"), m.Verifier("bob")
	if a.Secret() != m.Verifier("alice").Secret() {
		t.Error("a user's salt changes from login to login")
	}
	if string(a.Salt) == string(b.Salt) {
		t.Error("two users share a salt")
	}
	if string(a.Salt) == string(auth.NewMock().Verifier("alice").Salt) {
		t.Error("two processes share a salt")
	}
	if real := verifier(t); len(a.Salt) != len(real.Salt) || a.Iterations != real.Iterations {
		t.Error("an invented verifier does not look like a real one")
	}
}

func TestServerRefusesMalformedFirst(t *testing.T) {
	for _, tc := range []struct{ why, msg, code string }{
		{"empty", "", "08P01"},
		{"zero byte", "n,,n=,r=abc\x00", "08P01"},
		{"binds to a channel", "p=tls-server-end-point,,n=,r=abc", "08P01"},
		{"unknown flag", "x,,n=,r=abc", "08P01"},
		{"nothing after the flag", "n", "08P01"},
		{"no comma after the flag", "n;,n=,r=abc", "08P01"},
		{"authorisation identity", "n,a=admin,n=,r=abc", "0A000"},
		{"garbage for an identity", "n,b=admin,n=,r=abc", "08P01"},
		{"mandatory extension", "n,,m=x,n=,r=abc", "0A000"},
		{"no user name", "n,,r=abc", "08P01"},
		{"no nonce", "n,,n=", "08P01"},
		{"ends after a comma", "n,,n=,", "08P01"},
		{"another attribute", "n,,n=,s=abc", "08P01"},
		{"no equals sign", "n,,n=,rabc", "08P01"},
		{"nonce with a space", "n,,n=,r=a c", "08P01"},
		{"nonce with a letter beyond ASCII", "n,,n=,r=ä", "08P01"},
		{"malformed extension", "n,,n=,r=abc,1=2", "08P01"},
		{"unfinished extension", "n,,n=,r=abc,", "08P01"},
	} {
		_, err := auth.NewServer(verifier(t)).First([]byte(tc.msg))
		m, ok := errors.AsType[*auth.MessageError](err)
		if !ok || m.SQLState() != tc.code {
			t.Errorf("%s: %v, want %s", tc.why, err, tc.code)
		}
	}
	for _, msg := range []string{"n,,n=,r=abc", "y,,n=,r=abc", "n,,n=x,r=abc,e=1,f=2"} {
		if _, err := auth.NewServer(verifier(t)).First([]byte(msg)); err != nil {
			t.Errorf("%q: %v", msg, err)
		}
	}
}

func TestServerRefusesMalformedFinal(t *testing.T) {
	const proof = ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	for _, tc := range []struct{ why, first, msg, want string }{
		{"no proof", "n", "c=biws,r=abcdef", "malformed"},
		{"only the binding", "n", "c=biws", "malformed"},
		{"no binding", "n", "r=abcdef" + proof, "malformed"},
		{"another header than in the first message", "n", "c=eSws,r=abcdef" + proof, "channel-binding"},
		{"another header, the other way round", "y", "c=biws,r=abcdef" + proof, "channel-binding"},
		{"binding data", "n", "c=cD10bHMtc2VydmVyLWVuZC1wb2ludCws,r=abcdef" + proof, "channel-binding"},
		{"another nonce", "n", "c=biws,r=abcdeg" + proof, "Nonce"},
		{"only the client's nonce", "n", "c=biws,r=abc" + proof, "Nonce"},
		{"short proof", "n", "c=biws,r=abcdef,p=AAAA", "proof"},
		{"long proof", "n", "c=biws,r=abcdef" + proof + "AAAA", "proof"},
		{"something after the proof", "n", "c=biws,r=abcdef" + proof + ",x=1", "Garbage"},
		{"a comma after the proof", "n", "c=biws,r=abcdef" + proof + ",", "Garbage"},
		{"malformed extension", "n", "c=biws,r=abcdef,5=1" + proof, "malformed"},
		{"zero byte", "n", "c=biws\x00,r=abcdef" + proof, "length"},
		{"wrong proof", "n", "c=biws,r=abcdef" + proof, "does not fit"},
		{"wrong proof after an extension", "y", "c=eSws,r=abcdef,x=1" + proof, "does not fit"},
	} {
		s := auth.NewServer(verifier(t))
		s.SetNonce("def")
		if _, err := s.First([]byte(tc.first + ",,n=,r=abc")); err != nil {
			t.Fatal(err)
		}
		_, keys, err := s.Final([]byte(tc.msg))
		if err == nil || keys != nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want something about %q", tc.why, err, tc.want)
		}
	}
	if _, _, err := auth.NewServer(verifier(t)).Final([]byte("c=biws,r=" + proof)); err == nil {
		t.Error("a final message is accepted before the first")
	}
}

func TestClientDistrustsServer(t *testing.T) {
	const salt = "s=W22ZaJ0SNY7soEsUEjb6gQ=="
	for _, tc := range []struct{ why, msg string }{
		{"empty", ""},
		{"adds nothing to the nonce", "r=abc," + salt + ",i=4096"},
		{"another nonce", "r=xyzdef," + salt + ",i=4096"},
		{"no salt", "r=abcdef,s=,i=4096"},
		{"malformed salt", "r=abcdef,s=?,i=4096"},
		{"no count", "r=abcdef," + salt},
		{"count of zero", "r=abcdef," + salt + ",i=0"},
		{"a minute of work", "r=abcdef," + salt + ",i=2147483647"},
		{"mandatory extension", "m=x,r=abcdef," + salt + ",i=4096"},
	} {
		c := auth.NewPasswordClient("pencil")
		c.SetNonce("abc")
		c.First()
		if _, err := c.Final([]byte(tc.msg)); err == nil {
			t.Errorf("%s: accepted", tc.why)
		}
	}

	c := auth.NewPasswordClient("pencil")
	if err := c.Verify([]byte("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")); err == nil {
		t.Error("an outcome is accepted before the exchange")
	}
	c.SetNonce("abc")
	c.First()
	if _, err := c.Final([]byte("r=abcdef," + salt + ",i=1")); err != nil {
		t.Fatal(err)
	}
	for _, msg := range []string{"", "v=", "v=AAAA", "e=other-error", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="} {
		if err := c.Verify([]byte(msg)); err == nil {
			t.Errorf("the signature %q is accepted", msg)
		}
	}
}

func FuzzServer(f *testing.F) {
	f.Add([]byte("n,,n=user,r=abc"), []byte("c=biws,r=abcdef,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="))
	f.Add([]byte("y,,n=,r=abc,x=1"), []byte("c=eSws,r=abcdef,x=1,p="))
	f.Fuzz(func(t *testing.T, first, final []byte) {
		s := auth.NewServer(verifier(t))
		s.SetNonce("def")
		if _, err := s.First(first); err != nil {
			return
		}
		if _, _, err := s.Final(final); err == nil {
			t.Error("somebody guessed the proof")
		}
	})
}

func FuzzClient(f *testing.F) {
	f.Add([]byte("r=abcdef,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"), []byte("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="))
	f.Fuzz(func(t *testing.T, first, final []byte) {
		c := auth.NewClient(new(auth.Keys))
		c.SetNonce("abc")
		c.First()
		_, _ = c.Final(first)
		if c.Verify(final) == nil {
			t.Error("somebody guessed the signature")
		}
	})
}
