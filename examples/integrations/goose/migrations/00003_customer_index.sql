-- +goose NO TRANSACTION
-- +goose Up
CREATE INDEX CONCURRENTLY bookings_customer ON bookings (customer);

-- +goose Down
DROP INDEX CONCURRENTLY bookings_customer;
