-- +goose Up
ALTER TABLE bookings ADD COLUMN starts timestamptz NOT NULL DEFAULT now();

-- +goose StatementBegin
CREATE FUNCTION bookings_of(customer text) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT count(*) FROM bookings b WHERE b.customer = bookings_of.customer);
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION bookings_of(text);
ALTER TABLE bookings DROP COLUMN starts;
