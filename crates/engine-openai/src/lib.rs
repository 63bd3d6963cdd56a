//! engine-openai
