//! Well-known networks, under the names of PyTorch's torchvision: any number of classes, images of any size
//! that their windows fit into, parameters called and shaped as there, so that a file made from its weights
//! loads as it is. Each is one to three screens of code, to be read as examples of [`GraphBuilder`].
//!
//! ```
//! use wgpu_cnn::zoo;
//! let model = zoo::resnet18().classes(10).input([3, 64, 64]).build()?;
//! assert_eq!(model.parameters().next().unwrap().0, "conv1.weight");
//! let other = zoo::named("resnet18")?.build()?; // by name: 1000 classes, images of 224 x 224
//! assert_eq!(other.output_shape().to_string(), "[1000]");
//! # Ok::<(), wgpu_cnn::Error>(())
//! ```
//!
//! Where torchvision's networks have auxiliary classifiers, so have these: further outputs, each of which
//! can have a loss of its own, with a weight. [`Network::losses`] gives those that are usual.
//!
//! | network | outputs | weights |
//! |---|---|---|
//! | [`googlenet`] | `fc`, `aux1.fc2`, `aux2.fc2` | 1, 0.3, 0.3 |
//! | [`inception_v3`] | `fc`, `AuxLogits.fc` | 1, 0.4 |
//! | [`fcn_resnet50`], [`deeplabv3_resnet50`] and so on | `out`, `aux` | 1, 0.5 |
//!
//! # Inputs, outputs, initial weights
//!
//! A step takes images `(n, C, H, W)`; the output of a classifier is `(n, classes)`, that of a network that segments
//! `(n, classes, H, W)`, logits both; auxiliary outputs follow. Convolutions and dense layers start as [`Init`
//! says](crate::Init), not as in torchvision.
//!
//! Weights of torchvision, as a safetensors file, are loaded by
//! [`TrainerBuilder::weights`](crate::TrainerBuilder::weights). They were trained on images `(x - mean) / deviation` with
//! the means 0.485, 0.456, 0.406 and the deviations 0.229, 0.224, 0.225 of red, green and blue, `x` within 0 and 1; those
//! of GoogLeNet and Inception v3 on `2 x - 1`, which torchvision makes of the former within the model
//! (`transform_input`), and its GoogLeNet comes without auxiliary outputs: `zoo::googlenet().auxiliary(false)`. In
//! Python:
//!
//! ```python
//! import torchvision, safetensors.torch
//! model = torchvision.models.resnet18(weights="DEFAULT")
//! safetensors.torch.save_file(model.state_dict(), "resnet18.safetensors")
//! ```

mod alexnet;
mod blocks;
mod convnext;
mod densenet;
mod efficientnet;
mod googlenet;
mod inception;
mod mnasnet;
mod mobilenet_v2;
mod mobilenet_v3;
mod regnet;
mod resnet;
mod segmentation;
mod shufflenet;
mod squeezenet;
mod unet;
mod vgg;

use crate::op::{DropUnit, Dropout};
use crate::{Error, GraphBuilder, Loss, Losses, Model, Result, Shape, Value};

/// Adds a network to a graph that has its input, and gives its outputs.
type Make = fn(&mut GraphBuilder, Value, &Options) -> Result<Vec<Value>>;

/// A network of the zoo, and what can be chosen about it.
///
/// ```
/// use wgpu_cnn::zoo;
/// let model = zoo::vgg11_bn().classes(5).input([1, 48, 64]).dropout(0.2).build()?;
/// assert_eq!(model.input_shape().to_string(), "[1, 48, 64]");
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Network {
    name: &'static str,
    make: Make,
    input: Shape,
    /// Auxiliary outputs, and the weights that their losses usually have.
    heads: &'static [(&'static str, f64)],
    options: Options,
}

/// What can be chosen about every network.
#[derive(Debug, Clone, Copy)]
struct Options {
    classes: usize,
    dropout: Option<f64>,
    stochastic_depth: Option<f64>,
    auxiliary: bool,
    /// Channels of the first level of U-Net.
    width: usize,
}

impl Options {
    /// Dropout, with this probability unless another was chosen.
    fn dropout(&self, usual: f64) -> Dropout {
        Dropout::new(self.dropout.unwrap_or(usual))
    }

    /// Stochastic depth of block `at` of `blocks`, which grows along the network to this probability unless
    /// another was chosen.
    fn stochastic_depth(&self, usual: f64, at: usize, blocks: usize) -> Dropout {
        let last = self.stochastic_depth.unwrap_or(usual);
        Dropout::new(last * at as f64 / blocks as f64).unit(DropUnit::Example)
    }
}

impl Network {
    /// A classifier of colour images of 224 x 224 in 1000 classes, as ImageNet has them.
    fn new(name: &'static str, make: Make) -> Self {
        Self {
            name,
            make,
            input: [3, 224, 224].into(),
            heads: &[],
            options: Options {
                classes: 1000,
                dropout: None,
                stochastic_depth: None,
                auxiliary: true,
                width: 64,
            },
        }
    }

    /// The same with these auxiliary outputs.
    fn heads(self, heads: &'static [(&'static str, f64)]) -> Self {
        Self { heads, ..self }
    }

    /// What it is called here and in torchvision.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Sets the number of classes: of an image, or of each pixel for a network that segments. Default 1000,
    /// or 21 for one that segments.
    pub fn classes(mut self, classes: usize) -> Self {
        self.options.classes = classes;
        self
    }

    /// Sets the shape of an image, `[C, H, W]`. Default `[3, 224, 224]`, or `[3, 299, 299]` for
    /// `inception_v3`. Parameters depend on the channels alone. AlexNet wants at
    /// least 63 x 63 pixels, VGG and DenseNet 32 x 32, Inception v3 75 x 75, or 299 x 299 with its auxiliary
    /// output; most of the others work with fewer.
    pub fn input(mut self, shape: impl Into<Shape>) -> Self {
        self.input = shape.into();
        self
    }

    /// Sets the probability of every dropout layer that the network has; 0 turns them off. Default that of
    /// torchvision.
    pub fn dropout(mut self, probability: f64) -> Self {
        self.options.dropout = Some(probability);
        self
    }

    /// Sets what the probability with which a block is left out grows to along the network, where that has
    /// stochastic depth: evenly from zero, as in torchvision. ConvNeXt's last block has it; of `n` blocks
    /// EfficientNet's last has `(n - 1) / n` of it, and its blocks without a shortcut are never left out. 0 turns
    /// it off. Default that of torchvision.
    pub fn stochastic_depth(mut self, probability: f64) -> Self {
        self.options.stochastic_depth = Some(probability);
        self
    }

    /// Sets whether auxiliary outputs are there, where the network has such. Default true.
    pub fn auxiliary(mut self, auxiliary: bool) -> Self {
        self.options.auxiliary = auxiliary;
        self
    }

    /// Sets the channels of the first level of [`unet`], which each level below doubles. Default 64. The other
    /// networks have channels of their own.
    pub fn width(mut self, channels: usize) -> Self {
        self.options.width = channels;
        self
    }

    /// This loss of the output, and of auxiliary outputs too, with the weights that are usual there.
    ///
    /// ```
    /// use wgpu_cnn::{Loss, Trainer, zoo};
    /// let network = zoo::googlenet().classes(10).input([3, 64, 64]);
    /// let losses = network.losses(Loss::cross_entropy());
    /// let trainer = Trainer::builder(network.build()?).loss(losses);
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    pub fn losses(&self, loss: impl Into<Loss>) -> Losses {
        let loss = loss.into();
        let heads = self.heads.iter().filter(|_| self.options.auxiliary);
        heads.fold(Losses::from(loss.clone()), |losses, (name, weight)| {
            losses.and(name, loss.clone(), *weight)
        })
    }

    /// The model.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where an image is too small for it or has not three axes, which names the layer that
    /// found it; [`Error::Argument`] for no classes and for probabilities that are none.
    pub fn build(&self) -> Result<Model> {
        let mut net = Model::graph();
        let x = net.input(self.input.clone());
        let outputs = (self.make)(&mut net, x, &self.options)?;
        net.build(outputs)
    }
}

/// The network of this name.
///
/// # Errors
///
/// [`Error::Argument`] where [`NAMES`] has no such name.
pub fn named(name: &str) -> Result<Network> {
    find(name).ok_or_else(|| {
        let argument = format!("network {name:?}");
        Error::argument(argument, format!("there are {NAMES:?}"))
    })
}

/// The networks: a function of each name, and [`NAMES`].
macro_rules! networks {
    ($($(#[$doc:meta])* $name:ident => $family:ident::$make:ident($($argument:expr),*)
        $(.$option:ident($value:expr))*;)*) => {
        /// The name of every network.
        pub const NAMES: [&str; [$(stringify!($name)),*].len()] = [$(stringify!($name)),*];

        $($(#[$doc])*
        pub fn $name() -> Network {
            let make: Make = |net, x, options| $family::$make(net, x, options, $($argument),*);
            Network::new(stringify!($name), make)$(.$option($value))*
        })*

        /// The network of this name, if there is one.
        fn find(name: &str) -> Option<Network> {
            match name {
                $(stringify!($name) => Some($name()),)*
                _ => None,
            }
        }
    };
}

networks! {
    /// AlexNet in the form of Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks".
    alexnet => alexnet::alexnet();

    /// VGG-A of Simonyan and Zisserman 2015: 11 layers.
    vgg11 => vgg::vgg([1, 1, 2, 2, 2], false);
    /// [`vgg11`] with batch norms.
    vgg11_bn => vgg::vgg([1, 1, 2, 2, 2], true);
    /// VGG-B: 13 layers.
    vgg13 => vgg::vgg([2, 2, 2, 2, 2], false);
    /// [`vgg13`] with batch norms.
    vgg13_bn => vgg::vgg([2, 2, 2, 2, 2], true);
    /// VGG-D: 16 layers.
    vgg16 => vgg::vgg([2, 2, 3, 3, 3], false);
    /// [`vgg16`] with batch norms.
    vgg16_bn => vgg::vgg([2, 2, 3, 3, 3], true);
    /// VGG-E: 19 layers.
    vgg19 => vgg::vgg([2, 2, 4, 4, 4], false);
    /// [`vgg19`] with batch norms.
    vgg19_bn => vgg::vgg([2, 2, 4, 4, 4], true);

    /// ResNet-18 of He et al. 2016.
    resnet18 => resnet::basic([2, 2, 2, 2]);
    /// ResNet-34.
    resnet34 => resnet::basic([3, 4, 6, 3]);
    /// ResNet-50, with the stride in the 3x3 convolution of a block ("v1.5").
    resnet50 => resnet::bottleneck([3, 4, 6, 3], 1, 64);
    /// ResNet-101.
    resnet101 => resnet::bottleneck([3, 4, 23, 3], 1, 64);
    /// ResNet-152.
    resnet152 => resnet::bottleneck([3, 8, 36, 3], 1, 64);
    /// ResNeXt-50 of Xie et al. 2017: 32 groups of 4 channels.
    resnext50_32x4d => resnet::bottleneck([3, 4, 6, 3], 32, 4);
    /// ResNeXt-101: 32 groups of 8 channels.
    resnext101_32x8d => resnet::bottleneck([3, 4, 23, 3], 32, 8);
    /// ResNeXt-101: 64 groups of 4 channels.
    resnext101_64x4d => resnet::bottleneck([3, 4, 23, 3], 64, 4);
    /// Wide ResNet-50 of Zagoruyko and Komodakis 2016: twice the channels within a block.
    wide_resnet50_2 => resnet::bottleneck([3, 4, 6, 3], 1, 128);
    /// Wide ResNet-101.
    wide_resnet101_2 => resnet::bottleneck([3, 4, 23, 3], 1, 128);

    /// DenseNet-121 of Huang et al. 2017.
    densenet121 => densenet::densenet(64, 32, [6, 12, 24, 16]);
    /// DenseNet-161.
    densenet161 => densenet::densenet(96, 48, [6, 12, 36, 24]);
    /// DenseNet-169.
    densenet169 => densenet::densenet(64, 32, [6, 12, 32, 32]);
    /// DenseNet-201.
    densenet201 => densenet::densenet(64, 32, [6, 12, 48, 32]);

    /// SqueezeNet of Iandola et al. 2016.
    squeezenet1_0 => squeezenet::squeezenet1_0();
    /// SqueezeNet 1.1: as accurate, for less than half of the arithmetic.
    squeezenet1_1 => squeezenet::squeezenet1_1();

    /// GoogLeNet of Szegedy et al. 2015, with batch norms and two auxiliary classifiers.
    googlenet => googlenet::googlenet().heads(&[("aux1.fc2", 0.3), ("aux2.fc2", 0.3)]);
    /// Inception v3 of Szegedy et al. 2016, with an auxiliary classifier, which wants images of 299 x 299 or
    /// more; without it, 75 x 75 will do.
    inception_v3 => inception::inception_v3().input([3, 299, 299]).heads(&[("AuxLogits.fc", 0.4)]);

    /// MobileNet v2 of Sandler et al. 2018.
    mobilenet_v2 => mobilenet_v2::mobilenet_v2();
    /// The large MobileNet v3 of Howard et al. 2019.
    mobilenet_v3_large => mobilenet_v3::large();
    /// The small MobileNet v3.
    mobilenet_v3_small => mobilenet_v3::small();

    /// MNASNet-B1 of Tan et al. 2019, half as wide.
    mnasnet0_5 => mnasnet::mnasnet(0.5);
    /// MNASNet-B1, three quarters as wide.
    mnasnet0_75 => mnasnet::mnasnet(0.75);
    /// MNASNet-B1.
    mnasnet1_0 => mnasnet::mnasnet(1.0);
    /// MNASNet-B1, 1.3 times as wide.
    mnasnet1_3 => mnasnet::mnasnet(1.3);

    /// ShuffleNet v2 of Ma et al. 2018, half as wide.
    shufflenet_v2_x0_5 => shufflenet::v2([48, 96, 192], 1024);
    /// ShuffleNet v2.
    shufflenet_v2_x1_0 => shufflenet::v2([116, 232, 464], 1024);
    /// ShuffleNet v2, 1.5 times as wide.
    shufflenet_v2_x1_5 => shufflenet::v2([176, 352, 704], 1024);
    /// ShuffleNet v2, twice as wide.
    shufflenet_v2_x2_0 => shufflenet::v2([244, 488, 976], 2048);

    /// EfficientNet-B0 of Tan and Le 2019.
    efficientnet_b0 => efficientnet::b(1.0, 1.0, 0.2);
    /// EfficientNet-B1.
    efficientnet_b1 => efficientnet::b(1.0, 1.1, 0.2);
    /// EfficientNet-B2.
    efficientnet_b2 => efficientnet::b(1.1, 1.2, 0.3);
    /// EfficientNet-B3.
    efficientnet_b3 => efficientnet::b(1.2, 1.4, 0.3);
    /// EfficientNet-B4.
    efficientnet_b4 => efficientnet::b(1.4, 1.8, 0.4);
    /// EfficientNet-B5.
    efficientnet_b5 => efficientnet::b(1.6, 2.2, 0.4);
    /// EfficientNet-B6.
    efficientnet_b6 => efficientnet::b(1.8, 2.6, 0.5);
    /// EfficientNet-B7.
    efficientnet_b7 => efficientnet::b(2.0, 3.1, 0.5);
    /// The small EfficientNetV2 of Tan and Le 2021.
    efficientnet_v2_s => efficientnet::v2_s();
    /// The medium EfficientNetV2.
    efficientnet_v2_m => efficientnet::v2_m();
    /// The large EfficientNetV2.
    efficientnet_v2_l => efficientnet::v2_l();

    /// RegNetX of Radosavovic et al. 2020, with 400 million products for an image.
    regnet_x_400mf => regnet::x(22, (24, 24.48, 2.54), 16);
    /// RegNetX, 800 million products.
    regnet_x_800mf => regnet::x(16, (56, 35.73, 2.28), 16);
    /// RegNetX, 1.6 thousand million products.
    regnet_x_1_6gf => regnet::x(18, (80, 34.01, 2.25), 24);
    /// RegNetX, 3.2 thousand million products.
    regnet_x_3_2gf => regnet::x(25, (88, 26.31, 2.25), 48);
    /// RegNetX, 8 thousand million products.
    regnet_x_8gf => regnet::x(23, (80, 49.56, 2.88), 120);
    /// RegNetX, 16 thousand million products.
    regnet_x_16gf => regnet::x(22, (216, 55.59, 2.1), 128);
    /// RegNetX, 32 thousand million products.
    regnet_x_32gf => regnet::x(23, (320, 69.86, 2.0), 168);
    /// RegNetY, which is [RegNetX](regnet_x_400mf) with squeeze and excitation: 400 million products.
    regnet_y_400mf => regnet::y(16, (48, 27.89, 2.09), 8);
    /// RegNetY, 800 million products.
    regnet_y_800mf => regnet::y(14, (56, 38.84, 2.4), 16);
    /// RegNetY, 1.6 thousand million products.
    regnet_y_1_6gf => regnet::y(27, (48, 20.71, 2.65), 24);
    /// RegNetY, 3.2 thousand million products.
    regnet_y_3_2gf => regnet::y(21, (80, 42.63, 2.66), 24);
    /// RegNetY, 8 thousand million products.
    regnet_y_8gf => regnet::y(17, (192, 76.82, 2.19), 56);
    /// RegNetY, 16 thousand million products.
    regnet_y_16gf => regnet::y(18, (200, 106.23, 2.48), 112);
    /// RegNetY, 32 thousand million products.
    regnet_y_32gf => regnet::y(20, (232, 115.89, 2.53), 232);
    /// RegNetY, 128 thousand million products.
    regnet_y_128gf => regnet::y(27, (456, 160.83, 2.52), 264);

    /// ConvNeXt of Liu et al. 2022, the tiny one.
    convnext_tiny => convnext::convnext(96, 9, 0.1);
    /// The small ConvNeXt.
    convnext_small => convnext::convnext(96, 27, 0.4);
    /// The base ConvNeXt.
    convnext_base => convnext::convnext(128, 27, 0.5);
    /// The large ConvNeXt.
    convnext_large => convnext::convnext(192, 27, 0.5);

    /// FCN of Long et al. 2015 on a dilated ResNet-50, with an auxiliary classifier.
    fcn_resnet50 => segmentation::fcn([3, 4, 6, 3]).classes(21).heads(&[("aux", 0.5)]);
    /// FCN on a dilated ResNet-101.
    fcn_resnet101 => segmentation::fcn([3, 4, 23, 3]).classes(21).heads(&[("aux", 0.5)]);
    /// DeepLab v3 of Chen et al. 2017 on a dilated ResNet-50, with an auxiliary classifier. One of its batch norms sees
    /// one position of each image: it trains with two or more.
    deeplabv3_resnet50 => segmentation::deeplab_resnet([3, 4, 6, 3]).classes(21).heads(&[("aux", 0.5)]);
    /// DeepLab v3 on a dilated ResNet-101.
    deeplabv3_resnet101 => segmentation::deeplab_resnet([3, 4, 23, 3]).classes(21).heads(&[("aux", 0.5)]);
    /// DeepLab v3 on a dilated large MobileNet v3.
    deeplabv3_mobilenet_v3_large => segmentation::deeplab_mobilenet().classes(21).heads(&[("aux", 0.5)]);
    /// LR-ASPP of Howard et al. 2019 on a dilated large MobileNet v3.
    lraspp_mobilenet_v3_large => segmentation::lraspp().classes(21);
    /// U-Net of Ronneberger et al. 2015 with padding and batch norms, 64 channels wide at its first level. torchvision
    /// has none: names and shapes are those of the class in `tests/zoo/generate.py`.
    unet => unet::unet().classes(21);
}
