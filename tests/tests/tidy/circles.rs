//! No files of a crate import each other, neither two nor more in a circle: what they need of each other is a file of
//! its own, below them.
//!
//! A name counts for the file that defines it, however it is exported again, so that a folder may show what is in it. The
//! rule knows names in imports and paths. It does not know methods: what a file calls on a value that another file hands
//! to it is no import. Nor does it know tests at the end of a file, which may look at anything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
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

/// The circles among `sources`, all files of one crate below `root`: of files that reach each other, the shortest.
pub(crate) fn findings(root: &Path, sources: &[Source]) -> Vec<String> {
    let crate_ = Crate::of(root, sources);
    let edges: Edges<'_> =
        crate_.files.keys().map(|module| (module, crate_.edges(module))).collect();
    let mut named = BTreeSet::new();
    let mut found = Vec::new();
    for module in edges.keys().copied() {
        if named.contains(module) {
            continue;
        }
        if let Some(circle) = shortest_circle(&edges, module) {
            found.push(crate_.describe(&edges, &circle));
            named.extend(circle);
        }
    }
    found
}

/// What each file takes of which others.
type Edges<'c> = BTreeMap<&'c Module, BTreeMap<Module, BTreeSet<String>>>;

/// The fewest files by which `start` comes back to itself, which it begins with.
fn shortest_circle<'c>(edges: &Edges<'c>, start: &'c Module) -> Option<Vec<&'c Module>> {
    let mut seen = BTreeSet::new();
    let mut ways = VecDeque::from([vec![start]]);
    while let Some(way) = ways.pop_front() {
        for (next, _) in
            edges.iter().filter(|(next, _)| edges[way[way.len() - 1]].contains_key(**next))
        {
            if *next == start {
                return Some(way);
            }
            if seen.insert(*next) {
                ways.push_back([&way[..], &[next]].concat());
            }
        }
    }
    None
}

struct Crate {
    files: BTreeMap<Module, File>,
}

impl Crate {
    fn of(root: &Path, sources: &[Source]) -> Self {
        // A `main.rs` beside a `lib.rs` is another crate's root, and is imported by none.
        let library = sources.iter().any(|source| source.path == root.join("lib.rs"));
        let sources =
            sources.iter().filter(|source| !(library && source.path == root.join("main.rs")));
        let files = sources.filter_map(|source| {
            let inside = source.path.strip_prefix(root).ok()?.with_extension("");
            let mut module: Module =
                inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            module.pop_if(|last| ["mod", "lib", "main"].contains(&last.as_str()));
            Some((module, File::of(source)))
        });
        Self { files: files.collect() }
    }

    fn describe(&self, edges: &Edges<'_>, circle: &[&Module]) -> String {
        let next = circle.iter().cycle().skip(1);
        let steps = circle.iter().zip(next).map(|(module, next)| {
            let names = Vec::from_iter(edges[*module][*next].clone()).join(", ");
            format!("{} takes {names} of {}", self.files[*module].shown, self.files[*next].shown)
        });
        let steps = steps.collect::<Vec<_>>().join("; ");
        format!("{steps}: give what they need of each other a file below them")
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
            let word = start - USE.len();
            let tree = &body[start..end];
            // The parent of a module that is written in this file is this file.
            let inside =
                body[..word].ends_with(' ').then(|| tree.strip_prefix("super::")).flatten();
            let prefix = inside.map(|_| "self".to_owned());
            expand(inside.unwrap_or(tree), prefix.as_slice(), &mut imports);
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
        let said =
            "x/src/a/inner.rs takes B of x/src/b.rs; x/src/b.rs takes A of x/src/a/inner.rs: ";
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
    fn a_module_inside_a_file_takes_nothing_of_that_file_s_parent() {
        let files = [
            ("x/src/lib.rs", "mod a;\nmod b;\npub use b::B;\n"),
            (
                "x/src/a.rs",
                "pub enum Sink {}\nmod direct {\n    use super::Sink;\n    fn f(_: Sink) {}\n}\n",
            ),
            ("x/src/b.rs", "use crate::a::Sink;\npub struct B(Sink);\n"),
        ];
        assert_eq!(found(&files), [""; 0]);
    }

    #[test]
    fn a_longer_circle_is_found_once_and_by_its_shortest_way() {
        let files = [
            ("x/src/lib.rs", "mod a;\nmod b;\nmod c;\nmod d;\nmod e;\n"),
            ("x/src/a.rs", "use crate::b::B;\npub struct A(B);\n"),
            ("x/src/b.rs", "use crate::c::C;\nuse crate::d::D;\npub struct B(C, D);\n"),
            ("x/src/c.rs", "pub struct C(crate::a::A);\n"),
            ("x/src/d.rs", "pub struct D(crate::e::E);\n"),
            ("x/src/e.rs", "pub struct E(crate::a::A);\n"),
        ];
        let found = found(&files);
        let said = "x/src/a.rs takes B of x/src/b.rs; x/src/b.rs takes C of x/src/c.rs; x/src/c.rs takes A";
        assert!(found[0].starts_with(said), "{found:?}");
        // Another that has a file of its own is named too.
        assert!(found.len() == 2 && found[1].starts_with("x/src/d.rs takes E"), "{found:?}");
        assert_eq!(self::found(&files[..4]).len(), 1);
    }

    #[test]
    fn a_program_beside_its_library_hides_nothing_of_it() {
        let files = [
            ("x/src/a.rs", "use crate::B;\npub struct A(B);\n"),
            ("x/src/b.rs", "use crate::A;\npub struct B(A);\n"),
            ("x/src/lib.rs", "mod a;\nmod b;\npub use a::A;\npub use b::B;\n"),
            ("x/src/main.rs", "fn main() {}\n"),
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
