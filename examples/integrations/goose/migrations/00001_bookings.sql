-- +goose Up
CREATE TABLE bookings (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer text NOT NULL
);

-- +goose Down
DROP TABLE bookings;
