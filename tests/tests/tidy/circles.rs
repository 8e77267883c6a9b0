//! No two files import each other: what both need is a file of its own, below both.
//!
//! A name counts for the file that defines it, however it is exported again, so that a folder may show what is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::source::{Source, words};

/// A module by its names from the crate's root on.
type Module = Vec<String>;

/// One file as a module: what it names of other files, and what it exports of them.
struct File {
    shown: String,
    /// Without imports, so that a name here is a use.
    body: String,
    imports: Vec<Import>,
}

/// `use path as name`.
struct Import {
    path: Vec<String>,
    name: String,
}

/// The pairs among `sources`, all files of one crate below `root`, that import each other.
pub(crate) fn findings(root: &Path, sources: &[Source]) -> Vec<String> {
    let crate_ = Crate::of(root, sources);
    let edges: BTreeMap<_, _> =
        crate_.files.keys().map(|module| (module, crate_.edges(module))).collect();
    let mut found = Vec::new();
    for (one, from_one) in &edges {
        for (other, names) in from_one.iter().filter(|(other, _)| one < other) {
            let Some(back) = edges.get(other).and_then(|back| back.get(*one)) else { continue };
            let [here, there] = [*one, other].map(|module| &crate_.files[module].shown);
            let list = |names: &BTreeSet<String>| Vec::from_iter(names.clone()).join(", ");
            found.push(format!(
                "{here} takes {} of {there}, which takes {} of it: give what both need a file below both",
                list(names),
                list(back)
            ));
        }
    }
    found
}

struct Crate {
    files: BTreeMap<Module, File>,
}

impl Crate {
    fn of(root: &Path, sources: &[Source]) -> Self {
        let files = sources.iter().filter_map(|source| {
            let inside = source.path.strip_prefix(root).ok()?.with_extension("");
            let mut module: Module =
                inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            // A `main.rs` beside a `lib.rs` is another crate's root, and has nothing to import.
            module.pop_if(|last| ["mod", "lib", "main"].contains(&last.as_str()));
            Some((module, File::of(source)))
        });
        Self { files: files.collect() }
    }

    /// The files that `module` takes something of, and what.
    fn edges(&self, module: &Module) -> BTreeMap<Module, BTreeSet<String>> {
        let file = &self.files[module];
        let used: BTreeSet<_> = words(&file.body).collect();
        let imported = file.imports.iter().filter(|import| used.contains(import.name.as_str()));
        let imported = imported.map(|import| import.path.clone());
        let mut edges = BTreeMap::<Module, BTreeSet<String>>::new();
        for path in imported.chain(paths(&file.body)) {
            if let Some((owner, name)) = self.owner(module, &path, 0)
                && owner != *module
            {
                edges.entry(owner).or_default().insert(name);
            }
        }
        edges
    }

    /// The file that defines what `path` means in `module`, and the name of that; nothing of other crates.
    fn owner(&self, module: &Module, path: &[String], depth: usize) -> Option<(Module, String)> {
        /// Names that are exported again and again, past which something else is wrong.
        const DEEPEST: usize = 8;
        let (mut at, mut rest) = self.start(module, path, depth)?;
        while let [name, further @ ..] = rest {
            let below = [at.as_slice(), std::slice::from_ref(name)].concat();
            if !self.files.contains_key(&below) {
                break;
            }
            (at, rest) = (below, further);
        }
        let [name, further @ ..] = rest else { return None };
        let exported = self.files[&at].imports.iter().find(|import| import.name == *name);
        match exported {
            Some(import) if depth < DEEPEST => {
                let path = [import.path.as_slice(), further].concat();
                self.owner(&at, &path, depth + 1)
            }
            _ => Some((at, name.clone())),
        }
    }

    /// Where `path` begins, and what is left of it.
    fn start<'p>(
        &self,
        module: &Module,
        path: &'p [String],
        depth: usize,
    ) -> Option<(Module, &'p [String])> {
        let mut at = module.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => (at, rest) = (Module::new(), &path[1..]),
            "self" | "super" => {
                while let [first @ ("self" | "super"), ..] =
                    rest.iter().map(String::as_str).collect::<Vec<_>>()[..]
                {
                    if first == "super" {
                        at.pop()?;
                    }
                    rest = &rest[1..];
                }
            }
            first => {
                let below = [module.as_slice(), &[first.to_owned()]].concat();
                let here = &self.files[module].imports;
                let known = here.iter().any(|import| import.name == first && depth == 0);
                (self.files.contains_key(&below) || known).then_some(())?;
            }
        }
        self.files.contains_key(&at).then_some((at, rest))
    }
}

impl File {
    fn of(source: &Source) -> Self {
        let lines: Vec<_> = source.before_tests().map(|(_, code)| code.as_str()).collect();
        let (mut body, mut imports) = (lines.join("\n"), Vec::new());
        while let Some((start, end)) = next_import(&body) {
            expand(&body[start..end], &[], &mut imports);
            let word = start - USE.len();
            body.replace_range(word..end, "");
        }
        Self { shown: source.path.display().to_string(), body, imports }
    }
}

/// What an import begins with.
const USE: &str = "use ";

/// Where the tree of the first import in `text` is.
fn next_import(text: &str) -> Option<(usize, usize)> {
    let begins = |at: usize| {
        let before = text[..at].trim_end_matches([' ', '\t']);
        before.is_empty() || before.ends_with(['\n', ';', '}', '{', ')']) || before.ends_with("pub")
    };
    let (at, _) = text.match_indices(USE).find(|(at, _)| begins(*at))?;
    let start = at + USE.len();
    Some((start, start + text[start..].find(';')?))
}

/// The imports of `tree`, which is behind `prefix`.
fn expand(tree: &str, prefix: &[String], imports: &mut Vec<Import>) {
    let tree = tree.trim();
    if let Some((path, list)) = tree.split_once('{') {
        let prefix = [prefix, &segments(path)].concat();
        let list = list.trim_end().trim_end_matches('}');
        for item in parts(list) {
            expand(item, &prefix, imports);
        }
        return;
    }
    let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(p, a)| (p, Some(a.trim())));
    let mut path = [prefix, &segments(path)].concat();
    path.pop_if(|last| last == "self");
    if let Some(name) = alias.map(str::to_owned).or_else(|| path.last().cloned()) {
        imports.push(Import { path, name });
    }
}

fn segments(path: &str) -> Vec<String> {
    path.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// The items of a list, whose own lists may hold commas.
fn parts(list: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let outside = list.split(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    outside.filter(|item| !item.trim().is_empty()).collect()
}

/// The paths of several names in `body`.
fn paths(body: &str) -> impl Iterator<Item = Vec<String>> {
    let texts = body.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
    texts.filter(|text| text.contains("::") && !text.starts_with("::")).map(segments)
}

#[cfg(test)]
mod examples {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<_> =
            files.iter().map(|(path, text)| Source::new(Path::new(path), text)).collect();
        findings(Path::new("x/src"), &sources)
    }

    #[test]
    fn two_files_that_import_each_other_are_found_whatever_exports_the_names() {
        let files = [
            ("x/src/lib.rs", "mod a;\nmod b;\n"),
            ("x/src/a/mod.rs", "mod inner;\npub use inner::{\n    A,\n    other as Again,\n};\n"),
            ("x/src/a/inner.rs", "use crate::b::B;\npub struct A(B);\n"),
            ("x/src/b.rs", "use super::a;\npub struct B;\nfn f(_: a::A) {}\n"),
        ];
        let found = found(&files);
        let said = "x/src/a/inner.rs takes B of x/src/b.rs, which takes A of it";
        assert!(found.len() == 1 && found[0].starts_with(said), "{found:?}");
    }

    #[test]
    fn a_parent_and_its_child_are_found_too() {
        let files = [
            ("x/src/lib.rs", "mod child;\npub use child::Child;\nstruct P(Child);\nstruct Q;\n"),
            ("x/src/child.rs", "pub struct Child(super::Q);\n"),
        ];
        assert_eq!(found(&files).len(), 1);
    }

    #[test]
    fn one_way_a_folder_that_shows_what_is_in_it_and_tests_are_not_found() {
        let files = [
            ("x/src/lib.rs", "mod a;\nmod b;\npub use a::A;\npub use b::B;\n"),
            ("x/src/a.rs", "use crate::B;\npub struct A(B);\n"),
            (
                "x/src/b.rs",
                "pub struct B;\n#[cfg(test)]\nmod tests {\n    use crate::A;\n    fn f(_: A) {}\n}\n",
            ),
        ];
        assert_eq!(found(&files), [""; 0]);
    }
}
