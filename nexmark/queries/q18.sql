SELECT auction, bidder, date_time, price, channel, url, extra
FROM (
    SELECT *, ROW_NUMBER() OVER (
        PARTITION BY bidder, auction
        ORDER BY date_time DESC, price DESC, channel DESC, url DESC, extra DESC
    ) AS row_number
    FROM bid
)
WHERE row_number = 1
