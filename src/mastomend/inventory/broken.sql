-- The broken records of a scan, those of different origins interleaved: the first of every host, then the second of
-- every host, and so on, so that a window over this order always holds work for many hosts.
-- Parameters: the findings file, the kinds.
WITH records AS (
    SELECT kind, id, any_value(remote_url) AS remote_url, list(style) FILTER (state = 'corrupt') AS corrupt
    FROM read_parquet(?) WHERE list_contains(?, kind) GROUP BY kind, id
)
SELECT kind, id, remote_url, corrupt
FROM records
ORDER BY row_number() OVER (PARTITION BY regexp_extract(coalesce(remote_url, ''), '^[^/]*//([^/]*)', 1)
                            ORDER BY kind, id), kind, id
