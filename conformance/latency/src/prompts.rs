//! What is asked: seeded data sets, or a file of the user's own.

use std::{fmt, fs, io, path::PathBuf, str::FromStr};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// A data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompts {
    /// A question of a few sentences.
    Short,
    /// A document of two to four thousand characters, and a question.
    Long,
    /// Prompts like `short`, in Chinese.
    Chinese,
    /// Mostly short ones, some long, some Chinese.
    Mixed,
    /// One prompt a line.
    File(PathBuf),
}

impl FromStr for Prompts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "short" => Self::Short,
            "long" => Self::Long,
            "chinese" => Self::Chinese,
            "mixed" => Self::Mixed,
            _ => match text.strip_prefix("file:") {
                Some(path) if !path.is_empty() => Self::File(path.into()),
                _ => return Err("write short, long, chinese, mixed or file:PATH".to_owned()),
            },
        })
    }
}

impl fmt::Display for Prompts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("short"),
            Self::Long => f.write_str("long"),
            Self::Chinese => f.write_str("chinese"),
            Self::Mixed => f.write_str("mixed"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl Prompts {
    /// `count` prompts; the same seed gives the same. Each begins with words of its own, so that no server can answer from
    /// what it has read for another.
    pub fn draw(&self, count: usize, seed: u64) -> io::Result<Vec<String>> {
        let mut rng = StdRng::seed_from_u64(seed);
        if let Self::File(path) = self {
            let text = fs::read_to_string(path)?;
            let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
            if lines.is_empty() {
                return Err(io::Error::other(format!("{} holds no prompt", path.display())));
            }
            return Ok((0..count).map(|at| lines[at % lines.len()].to_owned()).collect());
        }
        Ok((0..count).map(|_| self.one(&mut rng)).collect())
    }

    fn one(&self, rng: &mut StdRng) -> String {
        match self {
            Self::Short => format!("{} What follows from this?", english(rng, 120..400)),
            Self::Long => format!("{}\n\nWhat is the text above about?", english(rng, 2000..4000)),
            Self::Chinese => format!("{}请问这意味着什么？", chinese(rng, 40..120)),
            Self::Mixed | Self::File(_) => match rng.random_range(0..10) {
                0 => Self::Long.one(rng),
                1..=3 => Self::Chinese.one(rng),
                _ => Self::Short.one(rng),
            },
        }
    }
}

fn english(rng: &mut StdRng, characters: std::ops::Range<usize>) -> String {
    let (length, mut text) = (rng.random_range(characters), String::new());
    while text.len() < length {
        let words = rng.random_range(6..14);
        for at in 0..words {
            let word = ENGLISH[rng.random_range(0..ENGLISH.len())];
            match at {
                0 => text.extend(word[..1].to_uppercase().chars().chain(word[1..].chars())),
                _ => text.extend([" ", word]),
            }
        }
        text.push_str(". ");
    }
    text.truncate(text.trim_end().len());
    text
}

fn chinese(rng: &mut StdRng, characters: std::ops::Range<usize>) -> String {
    let (length, mut text, mut written) = (rng.random_range(characters), String::new(), 0);
    while written < length {
        let word = CHINESE[rng.random_range(0..CHINESE.len())];
        written += word.chars().count();
        text.push_str(word);
        if rng.random_range(0..6) == 0 {
            text.push('，');
        }
    }
    text.truncate(text.trim_end_matches('，').len());
    text.push('。');
    text
}

const ENGLISH: [&str; 48] = [
    "river", "stone", "market", "signal", "window", "engine", "garden", "letter", "winter", "harbour",
    "paper", "music", "teacher", "copper", "bridge", "number", "village", "machine", "forest", "answer",
    "moves", "carries", "holds", "follows", "builds", "reads", "changes", "measures", "the", "a", "every",
    "some", "quiet", "bright", "heavy", "early", "long", "narrow", "under", "between", "after", "without",
    "and", "while", "because", "slowly", "often", "again",
];

const CHINESE: [&str; 36] = [
    "春天",
    "河流",
    "城市",
    "机器",
    "音乐",
    "老师",
    "学生",
    "窗户",
    "道路",
    "森林",
    "历史",
    "语言",
    "数据",
    "网络",
    "时间",
    "问题",
    "答案",
    "方法",
    "发展",
    "研究",
    "测量",
    "改变",
    "阅读",
    "建造",
    "安静的",
    "明亮的",
    "古老的",
    "重要的",
    "在",
    "和",
    "因为",
    "所以",
    "常常",
    "慢慢地",
    "从此",
    "之间",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn sets_are_seeded_and_no_prompt_begins_as_another() {
        for set in [Prompts::Short, Prompts::Long, Prompts::Chinese, Prompts::Mixed] {
            let drawn = set.draw(200, 7).unwrap();
            assert_eq!(drawn, set.draw(200, 7).unwrap());
            assert_ne!(drawn, set.draw(200, 8).unwrap());
            let starts: BTreeSet<String> = drawn.iter().map(|p| p.chars().take(16).collect()).collect();
            assert!(starts.len() > 190, "{set}: {}", starts.len());
            assert_eq!(set.to_string().parse(), Ok(set));
        }
        assert!(Prompts::Long.draw(20, 1).unwrap().iter().all(|p| (2000..4300).contains(&p.len())));
    }

    #[test]
    fn a_file_is_used_line_by_line_and_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, "one\n\ntwo\n").unwrap();
        let set = Prompts::File(file.path().to_owned());
        assert_eq!(set.draw(3, 1).unwrap(), ["one", "two", "one"]);
        fs::write(&file, "\n").unwrap();
        assert!(set.draw(3, 1).is_err());
    }
}
