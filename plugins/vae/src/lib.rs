//! The model type of VAEs: what turns latents into pictures and back.

use modelshelf_plugin_sdk::rules::header;
use modelshelf_plugin_sdk::{Derived, Descriptor, FileFacts, Header, ModelType, Tensor, export_model_type, json_of};
use serde::Serialize;

const VAE: &str = "vae";
const VIDEO: &str = "video_vae";
const TINY: &str = "tiny_vae";

/// The first layer of a decoder, whose input is the latent: of images in both common spellings, and of the Wan family.
const DECODERS: [&str; 2] = ["decoder.conv_in.weight", "decoder.conv1.weight"];
/// In bytes; tiny ones have some 5 MB, full ones 160 MB and more.
const TINY_BELOW: u64 = 60_000_000;

/// VAEs.
pub struct Vae;

#[derive(Serialize)]
struct Fields {
    /// Channels of the latent: 4 for the Stable Diffusion family up to SDXL, 16 for most since.
    latent_channels: Option<u64>,
}

impl ModelType for Vae {
    fn describe() -> Descriptor {
        Descriptor::new(VAE, "vaes", "VAEs")
            .version(env!("CARGO_PKG_VERSION"))
            .menu_order(40)
            .sub_types([(VAE, "VAE"), (VIDEO, "Video VAE"), (TINY, "Tiny VAE")])
            .extensions([".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".sft"])
            .root(VAE, ["vae", "vae_approx"], "default_vae_root")
            .remote_types(["vae"], "VAE")
            .headers(
                header::METADATA_KEYS,
                DECODERS.into_iter().chain(header::FULL_MODEL_TENSORS),
            )
            .columns([
                ("base_model", "Base model"),
                ("sub_type", "Kind"),
                ("latent_channels", "Latent channels"),
                ("file_size", "Size"),
            ])
    }

    fn derive_one(file: &FileFacts) -> Derived {
        let header = file.header.as_ref();
        let decoder = header.and_then(decoder);
        let fields = Fields {
            // Output channels come first in the weight of a convolution, then those of its input.
            latent_channels: decoder.and_then(|tensor| tensor.shape.get(1).copied()),
        };
        let is_video = decoder.is_some_and(|tensor| tensor.shape.len() == 5);
        let sub_type = match (is_video, file.size) {
            (true, _) => VIDEO,
            (_, 1..TINY_BELOW) => TINY,
            _ => VAE,
        };
        // Which has a VAE inside.
        let is_checkpoint = header.is_some_and(header::is_full_model);
        Derived {
            sub_type: sub_type.to_owned(),
            base_model_hint: header.and_then(header::base_model),
            fields: json_of(&fields),
            problem: is_checkpoint.then(|| {
                "This file holds a whole checkpoint, not a VAE alone. Move it to a folder of checkpoints.".to_owned()
            }),
        }
    }
}

fn decoder(header: &Header) -> Option<&Tensor> {
    DECODERS.iter().find_map(|name| header.tensor_like(name))
}

export_model_type!(Vae);

#[cfg(test)]
mod tests {
    use super::*;
    use modelshelf_plugin_sdk::testing::FakeHost;

    fn derived(size: u64, tensors: &[(&str, &[u64])]) -> Derived {
        let _host = FakeHost::new::<Vae>();
        let tensors = tensors.iter().map(|(name, shape)| Tensor {
            name: (*name).to_owned(),
            dtype: "F16".to_owned(),
            shape: shape.to_vec(),
        });
        let header = Some(Header {
            tensors: tensors.collect(),
            ..Header::default()
        });
        let file = FileFacts {
            size,
            header,
            ..FileFacts::default()
        };
        Vae::derive(&[file]).remove(0)
    }

    #[test]
    fn latent_channels_are_the_input_of_the_decoder() {
        for (channels, fields) in [(4, r#"{"latent_channels":4}"#), (16, r#"{"latent_channels":16}"#)] {
            let vae = derived(335_000_000, &[("decoder.conv_in.weight", &[512, channels, 3, 3])]);
            assert_eq!(
                (vae.sub_type.as_str(), vae.fields.as_str(), vae.problem),
                (VAE, fields, None)
            );
        }
    }

    #[test]
    fn kinds_are_told_by_shape_and_size() {
        let video = derived(250_000_000, &[("decoder.conv1.weight", &[384, 16, 3, 3, 3])]);
        assert_eq!(video.sub_type, VIDEO);
        let tiny = derived(4_900_000, &[("decoder.layers.0.weight", &[64, 4, 3, 3])]);
        assert_eq!(
            (tiny.sub_type.as_str(), tiny.fields.as_str()),
            (TINY, r#"{"latent_channels":null}"#)
        );
    }

    #[test]
    fn a_checkpoint_among_vaes_is_named() {
        let whole = derived(2_000_000_000, &[(header::FULL_MODEL_TENSORS[0], &[320, 4, 3, 3])]);
        assert!(
            whole
                .problem
                .is_some_and(|problem| problem.contains("whole checkpoint"))
        );
    }
}
