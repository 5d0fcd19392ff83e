;; A handler by hand: the types of wit/handler.wit, and REALLOC and PROCESS as bodies of its two functions.
(component
    (type $batch' (record
        (field "topic" string) (field "partition" u32) (field "attempt" u32)
        (field "base-offset" u64) (field "offset-deltas" (list u32))
        (field "append-time" s64) (field "append-deltas" (list u32))
        (field "times" (list s64)) (field "key-lens" (list s32)) (field "header-lens" (list u32))
        (field "value-lens" (list s32)) (field "data" (list u8))))
    (type $failure' (record (field "index" u32) (field "reason" string)))
    (type $stop' (record (field "reason" string) (field "after-ms" (option u64))))
    (import "tidemill:handler/types@0.1.0" (instance $types
        (alias outer 1 $batch' (type $b)) (export "batch" (type $batch (eq $b)))
        (alias outer 1 $failure' (type $f)) (export "failure" (type $failure (eq $f)))
        (alias outer 1 $stop' (type $s)) (export "stop" (type $stop (eq $s)))
        (type $o (record
            (field "settled" u32) (field "rejected" (list $failure)) (field "stopped" (option $stop))
            (field "topics" (list string)) (field "topic-of" (list u16)) (field "cause-of" (list u32))
            (field "times" (list s64)) (field "key-lens" (list s32)) (field "header-lens" (list u32))
            (field "value-lens" (list s32)) (field "data" (list u8))
            (field "state-key-lens" (list u32)) (field "state-value-lens" (list s32))
            (field "state-data" (list u8))))
        (export "output" (type (eq $o)))))
    (alias export $types "batch" (type $batch))
    (alias export $types "output" (type $output))
    (core module $guest
        (memory (export "memory") 1)
        (func $wicked_realloc (export "realloc") (param i32 i32 i32 i32) (result i32) REALLOC)
        (func (export "process") (param i32) (result i32) PROCESS))
    (core instance $i (instantiate $guest))
    (func $process (param "events" $batch) (result (result $output (error string)))
        (canon lift (core func $i "process") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
    (instance $processor (export "process" (func $process)))
    (export "tidemill:handler/processor@0.1.0" (instance $processor)))
