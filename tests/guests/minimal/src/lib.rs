//! The smallest model type: files that end in `.mini`.

use modelshelf_plugin_sdk::{Descriptor, ModelType, export_model_type};

struct Minimal;

impl ModelType for Minimal {
    fn describe() -> Descriptor {
        Descriptor::new("minimal", "minimals", "Minimals")
            .extensions([".mini"])
            .root("minimals", ["minimals"], "default_minimal_root")
    }
}

export_model_type!(Minimal);

#[cfg(test)]
mod tests {
    use super::*;
    use modelshelf_plugin_sdk::{FileFacts, testing::FakeHost};

    #[test]
    fn it_loads_and_derives() {
        let _host = FakeHost::new::<Minimal>();
        assert_eq!(Minimal::derive(&[FileFacts::default()])[0].sub_type, "minimal");
    }
}
