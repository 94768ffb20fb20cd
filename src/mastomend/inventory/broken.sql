-- The broken records of a scan; `position` interleaves those of different origins: the first of every host, then the
-- second of every host, and so on, so that a window over this order always holds work for many hosts.
-- Parameters: the findings file, the kinds.
WITH records AS (
    SELECT kind, id, list(style) FILTER (state = 'corrupt') AS corrupt,
        any_value(hash(regexp_extract(coalesce(remote_url, ''), '^[^/]*//([^/]*)', 1))) AS host
    FROM read_parquet(?) WHERE list_contains(?, kind) GROUP BY kind, id
)
SELECT kind, id, corrupt, row_number() OVER (PARTITION BY host ORDER BY kind, id) AS position FROM records
