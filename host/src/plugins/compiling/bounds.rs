//! What a component claims to have, counted before anything is compiled. The counts stand at the start of each section, so
//! this takes no more than a look at each.

use wasmparser::{Parser, Payload};

use super::{CompileError, CompileSettings};

#[derive(Default)]
struct Counts {
    functions: u64,
    types: u64,
    imports: u64,
    exports: u64,
}

/// Refuses a component that has more than it may have.
///
/// # Errors
/// Which limit; or that the bytes are no component.
pub(super) fn check(wasm: &[u8], settings: &CompileSettings) -> Result<(), CompileError> {
    let size = (wasm.len() as u64).div_ceil(1 << 20);
    within("MiB", size, settings.file_mib, "file_mib")?;
    let mut counts = Counts::default();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(|error| CompileError::Invalid(error.to_string()))?;
        let (count, by) = match &payload {
            Payload::FunctionSection(section) => (&mut counts.functions, section.count()),
            Payload::ComponentCanonicalSection(section) => (&mut counts.functions, section.count()),
            Payload::TypeSection(section) => (&mut counts.types, section.count()),
            Payload::CoreTypeSection(section) => (&mut counts.types, section.count()),
            Payload::ComponentTypeSection(section) => (&mut counts.types, section.count()),
            // Each instance is a type of its own to the compiler.
            Payload::InstanceSection(section) => (&mut counts.types, section.count()),
            Payload::ComponentInstanceSection(section) => (&mut counts.types, section.count()),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => (&mut counts.types, 1),
            Payload::ImportSection(section) => (&mut counts.imports, section.count()),
            Payload::ComponentImportSection(section) => (&mut counts.imports, section.count()),
            Payload::ExportSection(section) => (&mut counts.exports, section.count()),
            Payload::ComponentExportSection(section) => (&mut counts.exports, section.count()),
            Payload::ComponentAliasSection(section) => (&mut counts.exports, section.count()),
            _ => continue,
        };
        *count += u64::from(by);
        within("functions", counts.functions, settings.functions, "functions")?;
        within("types", counts.types, settings.items, "items")?;
        within("imports", counts.imports, settings.items, "items")?;
        within("exports and aliases", counts.exports, settings.items, "items")?;
    }
    Ok(())
}

fn within(what: &'static str, count: u64, most: u64, setting: &'static str) -> Result<(), CompileError> {
    if count <= most {
        return Ok(());
    }
    Err(CompileError::TooMuch {
        what,
        count,
        most,
        setting,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A core module with a section of this number, which says how many items it has.
    fn module(section: u8, content: &[u8]) -> Vec<u8> {
        let mut wasm = b"\0asm\x01\0\0\0".to_vec();
        wasm.push(section);
        leb(&mut wasm, content.len());
        wasm.extend_from_slice(content);
        wasm
    }

    fn leb(out: &mut Vec<u8>, mut number: usize) {
        while number >= 0x80 {
            out.push(number as u8 | 0x80);
            number >>= 7;
        }
        out.push(number as u8);
    }

    fn many(section: u8, count: usize) -> Vec<u8> {
        let mut content = Vec::new();
        leb(&mut content, count);
        content.resize(content.len() + count, 0);
        module(section, &content)
    }

    fn refused(wasm: &[u8]) -> String {
        check(wasm, &CompileSettings::default()).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn what_has_too_much_of_something_is_refused_with_the_setting() {
        const FUNCTIONS: u8 = 3;
        const EXPORTS: u8 = 7;
        // It has no code for them, which is looked at behind the count.
        assert!(!refused(&many(FUNCTIONS, 100_000)).contains("limit"));
        let text = refused(&many(FUNCTIONS, 900_000));
        assert!(
            text.contains("900000 functions") && text.contains("`functions` under [compile]"),
            "{text}"
        );
        let text = refused(&many(EXPORTS, 100_000));
        assert!(text.contains("100000 exports") && text.contains("`items`"), "{text}");
        let text = refused(&vec![0; (64 << 20) + 1]);
        assert!(text.contains("65 MiB") && text.contains("`file_mib`"), "{text}");
        assert!(!refused(b"no component").is_empty());
    }

    #[test]
    fn the_built_in_types_are_far_below_the_limits() {
        for (name, wasm) in crate::plugins::builtin::BUILTIN {
            let limits = CompileSettings {
                file_mib: 4,
                functions: 10_000,
                items: 2_000,
                ..CompileSettings::default()
            };
            assert!(check(wasm, &limits).is_ok(), "{name}");
        }
    }
}
