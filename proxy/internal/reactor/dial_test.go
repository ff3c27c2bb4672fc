package reactor

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgroute/pgroute/proxy/internal/backend"
)

// TestOnlyTheNodesTroubleIsReported: what a server has against one user or one
// database must not open the breaker for everybody.
func TestOnlyTheNodesTroubleIsReported(t *testing.T) {
	for why, tc := range map[string]struct {
		err     error
		trouble bool
	}{
		"nothing":            {nil, false},
		"a lost connection":  {io.EOF, true},
		"another server":     {errElsewhere{"it has changed its role"}, true},
		"it starts":          {refusal("57P03", "ProcessStartupPacket"), true},
		"it is full":         {refusal("53300", "InitProcess"), true},
		"only reserved ones": {refusal("53300", "InitPostgres"), true},
		"no memory":          {refusal("53200", "AllocSetAlloc"), true},
		"a full role":        {refusal("53300", "InitializeSessionUserId"), false},
		"a full database":    {refusal("53300", "CheckMyDatabase"), false},
		"a wrong password":   {refusal("28P01", "auth_failed"), false},
		"no such database":   {refusal("3D000", "InitPostgres"), false},
	} {
		err := reportable(tc.err)
		if (err != nil) != tc.trouble || err != nil && !errors.Is(err, tc.err) {
			t.Errorf("%s: reported is %v", why, err)
		}
	}
}

func refusal(code, routine string) error {
	return fmt.Errorf("log in: %w", &backend.ServerError{ErrorResponse: &pgproto3.ErrorResponse{Severity: "FATAL", Code: code, Routine: routine}})
}
