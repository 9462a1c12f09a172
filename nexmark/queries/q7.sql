SELECT b.date_time / 10000 * 10000 AS "window", b.auction, b.bidder, b.date_time, b.price, b.extra
FROM bid b
JOIN (
    SELECT MAX(price) AS maxprice, date_time / 10000 * 10000 AS "window"
    FROM bid
    GROUP BY 2
) m ON b.price = m.maxprice AND b.date_time / 10000 * 10000 = m."window"
