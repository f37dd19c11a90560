//! Which provider versions are diffusion models: files with the denoiser alone, which ComfyUI loads from folders of
//! their own.

use modelshelf_plugin_sdk::rules::file_choice::Version;

/// File types that only such versions have.
const FILE_TYPES: [&str; 2] = ["UNet", "Diffusion Model"];

/// Base models whose checkpoints come without text encoder and VAE, as the provider names them.
const BASE_MODELS: [&str; 42] = [
    "Anima",
    "AuraFlow",
    "Chroma",
    "CogVideoX",
    "Ernie",
    "Ernie Turbo",
    "Flux.1 D",
    "Flux.1 Kontext",
    "Flux.1 Krea",
    "Flux.1 S",
    "Flux.2 D",
    "Flux.2 Klein 4B",
    "Flux.2 Klein 4B-base",
    "Flux.2 Klein 9B",
    "Flux.2 Klein 9B-base",
    "HiDream",
    "Hunyuan 1",
    "Hunyuan Video",
    "Kolors",
    "Krea 2",
    "LTXV",
    "LTXV 2.3",
    "LTXV2",
    "Lumina",
    "Mochi",
    "Nucleus",
    "PixArt E",
    "PixArt a",
    "Qwen",
    "SVD",
    "Wan Video",
    "Wan Video 1.3B t2v",
    "Wan Video 14B i2v 480p",
    "Wan Video 14B i2v 720p",
    "Wan Video 14B t2v",
    "Wan Video 2.2 I2V-A14B",
    "Wan Video 2.2 T2V-A14B",
    "Wan Video 2.2 TI2V-5B",
    "Wan Video 2.5 I2V",
    "Wan Video 2.5 T2V",
    "ZImageBase",
    "ZImageTurbo",
];

/// Whether a version belongs below the roots for diffusion models.
pub fn is_diffusion_model(version: &Version) -> bool {
    version
        .files
        .iter()
        .any(|file| FILE_TYPES.iter().any(|file_type| file.is_of_type(file_type)))
        || BASE_MODELS.contains(&version.base_model.as_str())
}
