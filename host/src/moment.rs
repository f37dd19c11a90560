//! Moments as texts, in the form that clients of the original read.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970-01-01 UTC.
pub fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

/// A moment in UTC, such as `2026-11-24T08:13:34.000250+00:00`. Before 1970 it is 1970.
pub fn text(moment: SystemTime) -> String {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, of_day) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // The civil date of days since 1970, by Howard Hinnant's `civil_from_days`.
    let shifted = days + 719_468;
    let of_era = shifted % 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year + shifted / 146_097 * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}+00:00",
        of_day / 3_600,
        of_day / 60 % 60,
        of_day % 60,
        since.subsec_micros()
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn moments_are_written_with_date_and_time() {
        let at = |seconds: u64| text(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000000+00:00");
        assert_eq!(at(1_709_164_800), "2024-02-29T00:00:00.000000+00:00");
        assert_eq!(at(1_735_787_045), "2025-01-02T03:04:05.000000+00:00");
        assert_eq!(at(4_107_542_399), "2100-02-28T23:59:59.000000+00:00");
        assert_eq!(
            text(UNIX_EPOCH + Duration::from_micros(1_500)),
            "1970-01-01T00:00:00.001500+00:00"
        );
    }
}
