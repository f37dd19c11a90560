//! HTML of descriptions, cleaned so that a page can show it.
//!
//! Descriptions come from providers and from files of strangers, and the time of an HTML parser is quadratic in depth and
//! in attributes. So [`normalize`] first bounds both in linear time; what ammonia parses then is balanced and shallow.
//! Cleaning runs in the worker pool, and results are kept in memory, by digest of the description, within a bound.

mod normalize;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::workers::{WorkError, Workers};

/// Bytes of a description that are cleaned and shown.
pub const MAX_BYTES: usize = 512 << 10;
/// Bytes of cleaned descriptions that are kept.
const CACHE_BYTES: usize = 8 << 20;

/// Cleaned descriptions.
#[derive(Default)]
pub struct SafeHtml {
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    cleaned: HashMap<blake3::Hash, Arc<str>>,
    // In the order in which they came.
    order: VecDeque<blake3::Hash>,
    bytes: usize,
}

impl SafeHtml {
    /// A description with everything taken out that could run, load or restyle. Of a longer one than [`MAX_BYTES`] the
    /// beginning.
    ///
    /// # Errors
    /// When the worker pool is busy.
    pub async fn of(&self, workers: &Workers, description: &str) -> Result<Arc<str>, WorkError> {
        let html = description[..description.floor_char_boundary(MAX_BYTES)].to_owned();
        let digest = blake3::hash(html.as_bytes());
        if let Some(cleaned) = self.locked().cleaned.get(&digest) {
            return Ok(cleaned.clone());
        }
        let cleaned: Arc<str> = workers.run(move |_| clean(&html)).await?.into();
        self.locked().keep(digest, cleaned.clone());
        Ok(cleaned)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn keep(&mut self, digest: blake3::Hash, cleaned: Arc<str>) {
        let size = cleaned.len();
        if size > CACHE_BYTES || self.cleaned.insert(digest, cleaned).is_some() {
            return;
        }
        self.bytes += size;
        self.order.push_back(digest);
        while self.bytes > CACHE_BYTES {
            let Some(oldest) = self.order.pop_front() else { return };
            let removed = self.cleaned.remove(&oldest);
            self.bytes -= removed.map_or(0, |cleaned| cleaned.len());
        }
    }
}

fn clean(html: &str) -> String {
    let cleaner = {
        let mut builder = ammonia::Builder::default();
        builder.rm_tags(["img"]);
        builder
    };
    cleaner.clean(&normalize::normalize(html)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::WorkerSettings;

    #[test]
    fn the_text_of_hostile_descriptions_stays_and_their_markup_is_bounded() {
        let many = |part: &str, text: &str| format!("{}{text}", part.repeat(MAX_BYTES / part.len()));
        let attributes: String = (0..150_000).map(|index| format!(" a{index}")).collect();
        let formats: String = (0..30_000).map(|index| format!("<b id=x{index}>")).collect();
        let marked: String = (0..15_000)
            .map(|index| format!("<table><tr><td><b title={index}></td>"))
            .collect();
        for (html, text) in [
            (many("<div>", "deep"), "deep"),
            (many("<b><i><a href=x>", "deep"), "deep"),
            (many("<table><tr><td>", "deep"), "deep"),
            (many("<p>", "deep"), "<p></p>"),
            (many("</p>", "deep"), "deep"),
            (many("<", "< deep"), "&lt;"),
            (many("&", "deep"), "&amp;"),
            (many("&a", "deep"), "&amp;a"),
            (many("&amp;", "deep"), "deep"),
            (many("&#1;", "deep"), "deep"),
            (many("&notit;", "deep"), "deep"),
            (many("<a href=&>", "deep"), "deep"),
            (many("<a href=&a>", "deep"), "deep"),
            (many("a\0\r", "deep"), "deep"),
            (many("<li></ul>", "deep"), "<li></li>"),
            (many("<table>a", "deep"), "a"),
            (many("<a>a</p></a><table></a>b<tr>", "deep"), "b"),
            (many("<!--", "deep"), ""),
            (format!("<p{attributes}>deep</p>"), "deep"),
            (format!("{formats}{}deep", "<p>".repeat(30_000)), "deep"),
            (format!("{marked}{}deep", "<p>".repeat(30_000)), "deep"),
            (many("<script>", "no"), ""),
        ] {
            let cleaned = clean(&html);
            assert!(cleaned.contains(text), "{}", &html[..60]);
            // An ampersand is written as five bytes.
            assert!(cleaned.len() <= html.len() * 6, "{} {}", &html[..60], cleaned.len());
        }
    }

    #[test]
    fn what_could_run_or_load_is_taken_out_and_ordinary_markup_stays() {
        let html = "<h2>Use</h2><p onclick='x()'>With <strong>0.8</strong> &amp; <a href=\"https://e.test/?a=1&b=2\">this</a><br>\
                    <script>alert('<p>')</script><img src=x onerror=alert(1)><a href='javascript:x'>no</a></p>\
                    <ul><li>one<li>two</ul><p>a<p>b 1 < 2";
        assert_eq!(
            clean(html),
            "<h2>Use</h2><p>With <strong>0.8</strong> &amp; <a href=\"https://e.test/?a=1&amp;b=2\" rel=\"noopener noreferrer\">this</a>\
             <br><a rel=\"noopener noreferrer\">no</a></p><ul><li>one</li><li>two</li></ul><p>a</p><p>b 1 &lt; 2</p>"
        );
    }

    #[tokio::test]
    async fn a_cleaned_description_is_kept_within_the_bound() {
        let workers = Workers::new(&WorkerSettings::default()).unwrap();
        let safe = SafeHtml::default();
        let first = safe.of(&workers, "<p>one</p>").await.unwrap();
        assert!(Arc::ptr_eq(&first, &safe.of(&workers, "<p>one</p>").await.unwrap()));
        for index in 0..20 {
            safe.of(&workers, &format!("{index}{}", "x".repeat(MAX_BYTES)))
                .await
                .unwrap();
        }
        let cache = safe.locked();
        assert!(cache.bytes <= CACHE_BYTES && cache.order.len() == cache.cleaned.len());
        assert!(!cache.cleaned.contains_key(&blake3::hash(b"<p>one</p>")));
    }
}
