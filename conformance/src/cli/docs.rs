//! `conformance docs`: writes `docs/requirements/`, one page per requirement and an index, or checks that it agrees.
//!
//! Talks to: the areas of requirements, and the directory. Touches only Markdown files in it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use present::{text, write_whole};

use crate::{
    exit::Exit,
    reports::page,
    requirement::Requirement,
    requirements::{self, Area},
};

/// Arguments of `conformance docs`.
#[derive(Clone, Debug, clap::Args)]
pub struct DocsArgs {
    /// Where the pages are
    #[arg(long, value_name = "DIR", default_value = "docs/requirements")]
    pub dir: PathBuf,
    /// Write nothing; fail if a page differs from its requirement
    #[arg(long)]
    pub check: bool,
}

/// How a file differs from what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The file is not there.
    Missing(PathBuf),
    /// The file says something else.
    Stale(PathBuf),
    /// No requirement has this file.
    Superfluous(PathBuf),
}

/// Writes the pages, or says which of them differ.
pub fn run(args: &DocsArgs) -> anyhow::Result<Exit> {
    let differences = differences(&args.dir)?;
    if !args.check {
        write(&args.dir, &differences)?;
        text::print(&format!("{} pages, {} changed\n", pages().len(), differences.len()))?;
        return Ok(Exit::Success);
    }
    for difference in &differences {
        eprintln!("{difference}");
    }
    if differences.is_empty() {
        return Ok(Exit::Success);
    }
    let dir = args.dir.display();
    eprintln!(
        "error: {dir} differs from the requirements; to mend it: cargo run -p conformance -- docs --dir {dir}"
    );
    Ok(Exit::OutOfDate)
}

/// What is wrong with the pages in `dir`; nothing, if they agree with the requirements.
pub fn differences(dir: &Path) -> io::Result<Vec<Difference>> {
    let pages = pages();
    let mut differences = Vec::new();
    for (name, wanted) in &pages {
        match fs::read_to_string(dir.join(name)) {
            Ok(text) if text == *wanted => {}
            Ok(_) => differences.push(Difference::Stale(name.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                differences.push(Difference::Missing(name.clone()));
            }
            Err(error) => return Err(error),
        }
    }
    let found = markdown_files(dir)?.into_iter().filter(|name| !pages.contains_key(name));
    differences.extend(found.map(Difference::Superfluous));
    Ok(differences)
}

fn write(dir: &Path, differences: &[Difference]) -> io::Result<()> {
    let pages = pages();
    for difference in differences {
        match difference {
            Difference::Missing(name) | Difference::Stale(name) => {
                let path = dir.join(name);
                fs::create_dir_all(path.parent().unwrap_or(dir))?;
                write_whole(&path, pages.get(name).map(String::as_bytes).unwrap_or_default())?;
            }
            Difference::Superfluous(name) => fs::remove_file(dir.join(name))?,
        }
    }
    Ok(())
}

/// Every file, relative to the directory, and its text.
fn pages() -> BTreeMap<PathBuf, String> {
    let index = (PathBuf::from("README.md"), index(&requirements::AREAS));
    let of_each =
        requirements::ALL.iter().map(|requirement| (PathBuf::from(link(requirement)), page(requirement)));
    std::iter::once(index).chain(of_each).collect()
}

fn link(requirement: &Requirement) -> String {
    format!("{}/{}.md", requirement.area().to_ascii_lowercase(), requirement.id)
}

fn page(requirement: &Requirement) -> String {
    let dialects: Vec<_> = requirement.dialects.iter().map(ToString::to_string).collect();
    let (id, file) = (requirement.id, requirement.file);
    // The page's own headings go one level down: the title is the first.
    let body: String = page::markdown(requirement.page)
        .lines()
        .map(|line| if line.starts_with('#') { format!("#{line}\n") } else { format!("{line}\n") })
        .collect();
    format!(
        "{GENERATED}# {id}: {title}\n\n\
         {level} for {role}; dialects {dialects}; since {since}.\n\n\
         {body}\n\
         ## How the check is tested\n\
         The suite's own test serves this fault, and the check must see it: {fault}. Check and fault are in\n\
         [`{file}`](../../../{file}).\n",
        title = requirement.title,
        level = requirement.level,
        role = requirement.role,
        dialects = dialects.join(", "),
        since = requirement.since,
        fault = requirement.mutant.fault,
    )
}

fn index(areas: &[Area]) -> String {
    let checked: usize = areas.iter().map(|area| area.requirements.len()).sum();
    let unchecked: usize = areas.iter().map(|area| area.unchecked.len()).sum();
    let mut text = format!(
        "{GENERATED}# Requirements\n\n\
         The contract has {} requirements: {checked} are checked, {unchecked} are not yet. `conformance explain ID` shows \
         the same pages; `conformance list --format json` the same tables.\n",
        checked + unchecked
    );
    for area in areas {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n## {}\n", area.name);
        if !area.requirements.is_empty() {
            text.push_str("\n| id | level | role | isolation | title | since |\n|---|---|---|---|---|---|\n");
        }
        for requirement in area.requirements {
            let _ = writeln!(
                text,
                "| [{id}]({link}) | {level} | {role} | {isolation} | {title} | {since} |",
                id = requirement.id,
                link = link(requirement),
                level = requirement.level,
                role = requirement.role,
                isolation = requirement.isolation,
                title = requirement.title.replace('|', "\\|"),
                since = requirement.since,
            );
        }
        if !area.unchecked.is_empty() {
            text.push_str("\n| not checked | why |\n|---|---|\n");
        }
        for (id, why) in area.unchecked {
            let _ = writeln!(text, "| {id} | {why} |");
        }
    }
    text
}

/// The Markdown files in a directory and in the directories in it, relative to it.
fn markdown_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(relative) = directories.pop() {
        let entries = match fs::read_dir(dir.join(&relative)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = relative.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                directories.push(name);
            } else if name.extension().is_some_and(|extension| extension == "md") {
                found.push(name);
            }
        }
    }
    found.sort();
    Ok(found)
}

const GENERATED: &str =
    "<!-- Generated by `conformance docs` from the requirement's source file; edit that. -->\n\n";

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "missing: {}", name.display()),
            Self::Stale(name) => write!(f, "stale: {}", name.display()),
            Self::Superfluous(name) => write!(f, "of no requirement: {}", name.display()),
        }
    }
}
