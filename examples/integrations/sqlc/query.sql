-- name: AddBooking :one
INSERT INTO bookings (customer, note, guests, details, price, starts)
VALUES ($1, $2, $3, $4, $5, $6)
RETURNING id;

-- name: FindBooking :one
SELECT * FROM bookings WHERE id = $1;

-- name: LockBooking :one
SELECT * FROM bookings WHERE id = $1 FOR UPDATE;

-- name: ListBookings :many
SELECT * FROM bookings WHERE customer = ANY(sqlc.arg(customers)::text[]) ORDER BY id;

-- name: RenameBooking :execrows
UPDATE bookings SET customer = $2 WHERE id = $1;

-- name: CountBookings :one
SELECT count(*) FROM bookings;
