//! End-to-end suites of Tidemill: the real binary, its crashes, its guests of every vice.
