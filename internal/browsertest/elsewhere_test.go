package browsertest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/pgroute/pgroute/internal/booklab/api"
)

// bookElsewhere books without a browser.
func bookElsewhere(ctx context.Context, base string, wish api.Wish) error {
	body, err := json.Marshal(wish)
	if err != nil {
		return fmt.Errorf("encode a wish: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/api/bookings", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("book elsewhere: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", rand.Text())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("book elsewhere: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // only for the message
		return fmt.Errorf("book elsewhere: %s: %s", resp.Status, text)
	}
	return nil
}
