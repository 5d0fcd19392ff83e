//! The journal through its public interface: on the fake disk with a power cut at every call, with every byte
//! flipped, and against the files of earlier versions.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails is a test that fails")]

mod basics;
mod broken;
mod crash;
mod fixture;
mod flips;
mod history;
mod model;
