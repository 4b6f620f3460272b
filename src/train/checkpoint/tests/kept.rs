//! What is kept beside the weights, and what of a training may be another afterwards.

use super::*;
use crate::Average;

#[test]
fn an_average_of_a_file_that_does_not_say_when_it_began_began_with_the_training() {
    let builder = || builder().accumulate(1).average(Average::equal());
    let mut trainer = builder().on_cpu().unwrap();
    (0..3).for_each(|_| step(&mut trainer));
    let bytes = trainer.checkpoint_bytes().unwrap();
    let older = edited(&bytes, |header| {
        let text = header["__metadata__"]["progress"].as_str().unwrap();
        let mut progress: Value = serde_json::from_str(text).unwrap();
        let began = progress.as_object_mut().unwrap().remove("average_began");
        assert_eq!(began, Some(json!(0)));
        header["__metadata__"]["progress"] = json!(progress.to_string());
    });
    let mut resumed = builder().resume_bytes(older).on_cpu().unwrap();
    assert!(resumed.checkpoint_bytes().unwrap() == bytes);
    [&mut trainer, &mut resumed].into_iter().for_each(step);
    assert!(resumed.checkpoint_bytes().unwrap() == trainer.checkpoint_bytes().unwrap());
    for (value, word) in [(json!(4), "4 of at most 3"), (json!("0"), "average_began")] {
        refused(builder(), having(&bytes, "average_began", value), &[word]);
    }
}
