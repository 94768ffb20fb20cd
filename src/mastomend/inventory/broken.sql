-- The broken records of a scan, $1 its findings file, of the kinds $2, which are counted from 1. `corrupt` has a bit for
-- each of the styles $3, the lowest for the first: set for those that do not decode. `position` interleaves
-- records of different origins: the first of every host, then the second of every host, and so on, so that a window over
-- this order always holds work for many hosts. What only the public does not get is not broken.
WITH records AS MATERIALIZED (
    SELECT list_position($2, kind)::UTINYINT AS kind, id,
        coalesce(bit_or(1::BIGINT << (list_position($3, style) - 1)) FILTER (state = 'corrupt'), 0) AS corrupt,
        any_value(hash(regexp_extract(coalesce(remote_url, ''), '^[^/]*//([^/]*)', 1))) AS host
    FROM read_parquet($1) WHERE list_contains($2, kind) AND NOT (state = 'unservable' AND starts_with(detail, 'public ('))
    GROUP BY 1, id
)
SELECT kind, id, corrupt, row_number() OVER (PARTITION BY host ORDER BY kind, id) AS position FROM records
