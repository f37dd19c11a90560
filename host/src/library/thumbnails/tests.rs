use std::time::SystemTime;

use image::{Rgb, RgbImage};

use super::*;

struct Folder {
    folder: tempfile::TempDir,
    thumbnails: Arc<Thumbnails>,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let thumbnails = Arc::new(Thumbnails::new(folder.path().join("thumbnails"), 64));
        Self { folder, thumbnails }
    }

    fn picture(&self, name: &str) -> Picture {
        let path = self.folder.path().join(name);
        let metadata = std::fs::metadata(&path).unwrap();
        let modified = metadata
            .modified()
            .unwrap()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        let stamp = Stamp {
            size: metadata.len(),
            mtime_ns: modified.as_nanos() as i64,
            inode: 0,
        };
        Picture {
            disk: crate::files::disks::of(self.folder.path()),
            path,
            stamp,
            cover: false,
        }
    }

    fn paint(&self, name: &str, colour: [u8; 3]) -> Picture {
        let pixels = RgbImage::from_pixel(600, 600, Rgb(colour));
        pixels.save(self.folder.path().join(name)).unwrap();
        self.picture(name)
    }
}

fn width_of(thumbnail: &Thumbnail) -> Option<u32> {
    match thumbnail {
        Thumbnail::Made { bytes, .. } => Some(image::load_from_memory(bytes).unwrap().width()),
        _ => None,
    }
}

#[test]
fn widths_are_rounded_up_to_few() {
    assert_eq!(
        [1, 160, 161, 1920, 1921].map(step),
        [Some(160), Some(160), Some(240), Some(1920), None]
    );
    assert!(WIDTHS.is_sorted());
}

#[tokio::test]
async fn a_thumbnail_is_made_once_and_a_changed_picture_gets_another() {
    let folder = Folder::new();
    let picture = folder.paint("a.png", [200, 0, 0]);
    let first = folder.thumbnails.get(picture.clone(), 160).await.unwrap();
    assert_eq!(width_of(&first), Some(160));
    // From the cache: the picture is not there any more.
    std::fs::remove_file(&picture.path).unwrap();
    assert_eq!(folder.thumbnails.get(picture.clone(), 160).await.unwrap(), first);
    assert!(matches!(
        folder.thumbnails.get(picture, 240).await,
        Err(ThumbnailError::Io { .. })
    ));
    let mut changed = folder.paint("a.png", [0, 0, 200]);
    changed.stamp.mtime_ns += 1;
    assert_ne!(folder.thumbnails.get(changed, 160).await.unwrap(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_many_ask_for_at_once_is_made_once() {
    let folder = Folder::new();
    let picture = folder.paint("a.png", [0, 200, 0]);
    let asking: Vec<_> = (0..40)
        .map(|_| {
            let (thumbnails, picture) = (folder.thumbnails.clone(), picture.clone());
            tokio::spawn(async move { thumbnails.get(picture, 160).await })
        })
        .collect();
    for asked in asking {
        assert_eq!(width_of(&asked.await.unwrap().unwrap()), Some(160));
    }
    let shards = std::fs::read_dir(folder.folder.path().join("thumbnails")).unwrap();
    assert_eq!(shards.count(), 1);
    assert!(folder.thumbnails.making.lock().unwrap().len() <= 1);
}

#[tokio::test]
async fn a_refusal_names_the_file_and_is_remembered() {
    let folder = Folder::new();
    std::fs::write(folder.folder.path().join("a.png"), "<svg/>").unwrap();
    let picture = folder.picture("a.png");
    for _ in 0..2 {
        let error = folder
            .thumbnails
            .get(picture.clone(), 160)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("a.png") && error.contains("no JPEG"), "{error}");
        // The second time without a look at the file.
        let _ = std::fs::remove_file(&picture.path);
    }
}

#[tokio::test]
async fn a_video_without_a_cover_says_so() {
    let folder = Folder::new();
    std::fs::write(folder.folder.path().join("a.mp4"), b"\0\0\0\x10ftypisom\0\0\0\0").unwrap();
    let picture = Picture {
        cover: true,
        ..folder.picture("a.mp4")
    };
    assert_eq!(folder.thumbnails.get(picture, 160).await.unwrap(), Thumbnail::NoCover);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_waits_for_the_memory_that_others_take() {
    let folder = Folder::new();
    let picture = folder.paint("a.png", [0, 200, 0]);
    let all = mib(render::MAX_WORK);
    let taken = folder.thumbnails.memory.clone().acquire_many_owned(all).await.unwrap();
    let thumbnails = folder.thumbnails.clone();
    let mut asked = tokio::spawn(async move { thumbnails.get(picture, 160).await });
    let early = tokio::time::timeout(std::time::Duration::from_millis(300), &mut asked).await;
    assert!(early.is_err(), "it was decoded without memory for it");
    drop(taken);
    assert_eq!(width_of(&asked.await.unwrap().unwrap()), Some(160));
    assert_eq!(folder.thumbnails.memory.available_permits(), all as usize);
}
