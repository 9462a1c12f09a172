SELECT auction, rank_number, bidder, price, channel, url, date_time, extra
FROM (
    SELECT *, ROW_NUMBER() OVER (
        PARTITION BY auction
        ORDER BY price DESC, date_time, bidder, channel DESC, url DESC, extra DESC
    ) AS rank_number
    FROM bid
)
WHERE rank_number <= 10
