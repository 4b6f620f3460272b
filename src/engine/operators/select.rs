//! Ranges along an axis, and channels in another order.

use super::{
    Applies, Backward, Case, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved, Site, Sum,
};
use crate::Result;
use crate::cpu::{self, Real};
use crate::gpu::kernels::select;
use crate::gpu::record::Recording;
use crate::op::{ChannelPermute, ChannelShuffle, Slice};

impl<T: Real> Operator<T> for Slice {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let (from, to) = (places.inputs[0], places.output);
        select::slice(recording, &geometry, &(self.from..self.to), from, to);
        Ok(())
    }

    fn record_backward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Backward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        if let Some(to) = places.to_inputs[0] {
            let range = self.from..self.to;
            select::slice_backward(recording, &geometry, &range, places.gradient, to);
        }
        Ok(())
    }

    fn keeps(&self, _: &Site) -> Result<Option<Keeps>> {
        Ok(None)
    }

    fn forward(
        &self,
        site: &Site,
        x: &[&[T]],
        _: &[&[T]],
        y: &mut [T],
        _: &mut Kept<T>,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        cpu::slice_forward(&geometry, self.from..self.to, x[0], y)
    }

    fn backward(
        &self,
        site: &Site,
        _: &Saved<T>,
        gy: &[T],
        gradients: &mut Gradients<T>,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        match gradients.input(0) {
            Some(gx) => cpu::slice_backward(&geometry, self.from..self.to, gy, gx),
            None => Ok(()),
        }
    }

    fn applies(&self) -> Applies {
        Applies::Values
    }

    fn hands_gradient_on(&self, _: &Site, _: usize) -> bool {
        false
    }

    fn rounding(&self, site: &Site) -> Result<Rounding> {
        let taken = site.output.len() as f64 / site.input().len() as f64;
        Ok(Rounding::of(Sum::copy(), Sum::copy().reach(taken)))
    }

    fn cases() -> Vec<Case> {
        vec![
            Case::new("channels, whole vectors", Slice::channels(2..5), [6, 4, 4]),
            Case::new("channels of odd sizes", Slice::channels(1..4), [5, 3, 3]),
            Case::new("rows", Slice::rows(1..4), [2, 7, 5]),
            Case::new("rows, whole vectors", Slice::rows(2..5), [3, 6, 4]),
            Case::new("columns", Slice::columns(2..7), [3, 5, 8]),
            Case::new("columns, whole vectors", Slice::columns(4..12), [2, 3, 16]),
            Case::new("positions of a signal", Slice::rows(0..10), [3, 11]).batch(1),
            Case::new("numbers of a row", Slice::new(0, 3..4), [9]),
            Case::new("all", Slice::channels(0..3), [3, 2, 2]),
        ]
    }
}

impl<T: Real> Operator<T> for ChannelShuffle {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let (from, to) = (places.inputs[0], places.output);
        select::shuffle(recording, &geometry, self.groups, from, to);
        Ok(())
    }

    fn record_backward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Backward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        if let Some(to) = places.to_inputs[0] {
            let back = geometry.extent / self.groups;
            select::shuffle(recording, &geometry, back, places.gradient, to);
        }
        Ok(())
    }

    fn keeps(&self, _: &Site) -> Result<Option<Keeps>> {
        Ok(None)
    }

    fn forward(
        &self,
        site: &Site,
        x: &[&[T]],
        _: &[&[T]],
        y: &mut [T],
        _: &mut Kept<T>,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        cpu::channel_shuffle_forward(&geometry, self.groups, x[0], y)
    }

    fn backward(
        &self,
        site: &Site,
        _: &Saved<T>,
        gy: &[T],
        gradients: &mut Gradients<T>,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        match gradients.input(0) {
            Some(gx) => cpu::channel_shuffle_backward(&geometry, self.groups, gy, gx),
            None => Ok(()),
        }
    }

    fn applies(&self) -> Applies {
        Applies::Values
    }

    fn hands_gradient_on(&self, _: &Site, _: usize) -> bool {
        false
    }

    fn rounding(&self, _: &Site) -> Result<Rounding> {
        Ok(Rounding::of(Sum::copy(), Sum::copy()))
    }

    fn cases() -> Vec<Case> {
        let shuffle = ChannelShuffle::new;
        vec![
            Case::new("two groups, whole vectors", shuffle(2), [6, 4, 4]),
            Case::new("three groups, odd sizes", shuffle(3), [6, 3, 5]),
            Case::new("as many groups as channels", shuffle(5), [5, 3, 3]),
            Case::new("a signal", shuffle(2), [8, 7]).batch(1),
            Case::new("a row", shuffle(4), [12]),
        ]
    }
}

impl<T: Real> Operator<T> for ChannelPermute {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let (from, to) = (places.inputs[0], places.output);
        select::permute(recording, &geometry, &self.index, from, to);
        Ok(())
    }

    fn record_backward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Backward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        if let Some(to) = places.to_inputs[0] {
            select::permute_backward(recording, &geometry, &self.index, places.gradient, to);
        }
        Ok(())
    }

    fn keeps(&self, _: &Site) -> Result<Option<Keeps>> {
        Ok(None)
    }

    fn forward(
        &self,
        site: &Site,
        x: &[&[T]],
        _: &[&[T]],
        y: &mut [T],
        _: &mut Kept<T>,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        cpu::channel_permute_forward(&geometry, &self.index, x[0], y)
    }

    fn backward(
        &self,
        site: &Site,
        _: &Saved<T>,
        gy: &[T],
        gradients: &mut Gradients<T>,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        match gradients.input(0) {
            Some(gx) => cpu::channel_permute_backward(&geometry, &self.index, gy, gx),
            None => Ok(()),
        }
    }

    fn applies(&self) -> Applies {
        Applies::Values
    }

    fn hands_gradient_on(&self, _: &Site, _: usize) -> bool {
        false
    }

    fn rounding(&self, site: &Site) -> Result<Rounding> {
        let channels = self.geometry(site.batch, site.input())?.extent;
        let mut times = vec![0; channels];
        for &channel in &self.index {
            times[channel] += 1;
        }
        let most = times.iter().copied().max().unwrap_or(0);
        let taken = times.iter().filter(|&&times| times > 0).count();
        let input = match most {
            0 | 1 => Sum::copy(),
            most => Sum::products(most),
        };
        let reach = taken as f64 / channels as f64;
        Ok(Rounding::of(Sum::copy(), input.reach(reach)))
    }

    fn cases() -> Vec<Case> {
        let permute = |index: &[usize]| ChannelPermute::new(index);
        vec![
            Case::new("whole vectors", permute(&[2, 0, 1, 3]), [4, 4, 4]),
            Case::new("odd sizes", permute(&[2, 0, 1, 4, 3]), [5, 3, 5]),
            Case::new(
                "some twice, one never",
                permute(&[4, 1, 1, 0, 4, 4, 2]),
                [5, 3, 3],
            ),
            Case::new("the same in whole vectors", permute(&[1, 1, 0]), [3, 2, 2]),
            Case::new("a signal", permute(&[1, 0]), [2, 5]).batch(1),
            Case::new("a row", permute(&[3, 3, 1, 0]), [4]),
        ]
    }
}
