"""Parameters of notebooks that `shc run` refuses before a kernel starts, and those that no file could hold."""

from bad_inputs import Case, of_command, of_function

from shc import config, parameters, presets, schedule
from shc.method_run import MethodRun

# name, value, words: every line is `shc run --set name=value`
VALUES = [line.split(" ", 2) for line in """
data emojis did you mean 'emoji'
data  data set ''
data ../data data set '../data'
scale 0 scale=0.0 & above 0
scale -1 scale=-1.0
scale 1.01 scale=1.01
scale nan scale='nan' & float
scale inf scale='inf'
scale a_tenth scale='a_tenth' & of type float
scale [0.1] scale='[0.1]'
size 15 size=15 & 16 and 256
size 257 size=257
size -32 size=-32
size 32.5 size='32.5' & of type int
size big size='big'
size 1e2 size='1e2' & int
seed -1 seed=-1
seed 0.5 seed='0.5'
seed 99999999999999999999 seed='99999999999999999999'
seed True seed='True' & int
fold 6 fold=6 & 0 to 5
fold -1 fold=-1
fold first fold='first'
protocol open protocol='open' & closed or unseen-classes
protocol Closed protocol='Closed'
val 0 val=0.0
val 0.51 val=0.51
val -0.1 val=-0.1
val many val='many'
unreadable ignore unreadable='ignore' & skip or fail
net resnet99 net='resnet99' & resnet18
net CNN net='CNN'
weights imagenet weights='imagenet' & choose one of none
weights places365 weights='places365'
features freeze features='freeze'
features frozen features='frozen' & untrained
backbone_lr -1 backbone_lr=-1.0
backbone_lr nan backbone_lr='nan'
crop -1 crop=-1
crop 64 crop=64 & 32 pixels
crop half crop='half'
epochs 0 epochs=0
epochs -3 epochs=-3
epochs 2.5 epochs='2.5'
epochs ten epochs='ten'
batch 0 batch=0
batch -128 batch=-128
batch 1_000.0 batch='1_000.0'
lr 0 lr=0.0
lr 10 lr=10.0
lr -0.1 lr=-0.1
lr fast lr='fast'
lr 1e400 lr='1e400'
optimizer sgd optimizer='sgd' & adamw or rmsprop
weight_decay -0.1 weight_decay=-0.1
weight_decay inf weight_decay='inf'
warmup 1 warmup=1.0
warmup -0.1 warmup=-0.1
dtype float16 dtype='float16' & bfloat16
device tpu device='tpu'
device cuda:99 device='cuda:99'
device meta device='meta'
device  device=''
similarity cosine similarity='cosine' & hierarchy
mask all mask='all' & predicted
temperature 0 temperature=0.0
temperature -1 temperature=-1.0
temperature hot temperature='hot'
embeddings nowhere.npy nowhere.npy
bits 0 bits=0
bits 1025 bits=1025 & 1024
bits -8 bits=-8
bits 6 6 bits & at least 7 bits
bits 16.0 bits='16.0'
bits thirty-two bits='thirty-two'
min_distance minimum min_distance='minimum'
min_distance -1 min_distance='-1'
min_distance 1.5 min_distance='1.5'
min_distance 40 min_distance=40 & impossible
min_distance  min_distance=''
center_seed -1 center_seed=-1
center_seed 18446744073709551616 center_seed='18446744073709551616'
solver gurobi solver='gurobi' & paper-code
method shcc 'shcc' & did you mean 'shc'
init random init='random' & scratch
hasher_features half hasher_features='half'
hasher_epochs 0 hasher_epochs=0
hasher_lr 0 hasher_lr=0.0
hasher_lr 11 hasher_lr=11.0
hasher_backbone_lr -0.5 hasher_backbone_lr=-0.5
hasher_seed -1 hasher_seed=-1
hasher_seed 1e3 hasher_seed='1e3'
neighbors 0 neighbors=0
neighbors -10 neighbors=-10
examples 0 examples=0
example_seed -1 example_seed=-1
map_codes -5 map_codes=-5
map_seed -1 map_seed=-1
frontier_step 0 frontier_step=0
frontier_seeds 0 frontier_seeds=0
frontier_thin 0 frontier_thin=0
frontier_thin -3 frontier_thin=-3
tour_bits 2 tour_bits=2
tour_bits 5000 tour_bits=5000
tour_seed -1 tour_seed=-1
frame nowhere.csv nowhere.csv
metric mAP metric='mAP' & mAP@ALL
live maybe live='maybe' & bool
live 1 live='1' & bool
bitz 8 'bitz' & did you mean 'bits'
BITS 8 'BITS'
run elsewhere 'run'
__class__ 1 '__class__'
""".strip().splitlines()]  # fmt: skip

# several at once that contradict each other
TOGETHER = of_command(
    "run",
    ("ImageNet weights for the small net", "--set net=cnn --set weights=imagenet", "weights='imagenet'"),
    ("a crop above the size", "--set size=64 --set crop=65", "crop=65 & 64 pixels"),
    ("embeddings that nobody reads", "--set embeddings=x.npy --set similarity=hierarchy", "x.npy' would not be read"),
    ("a frozen untrained backbone", "--set hasher_features=frozen --set init=scratch", "init='scratch'"),
    ("a second fold of shapes", "--data shapes --set fold=1", "fold=1 & only fold 0"),
    ("unseen classes of clothes", "--data fashion_mnist --set protocol=unseen-classes", "protocol='unseen-classes'"),
    ("a protocol of another set", "--data cifar10 --set protocol=paper", "protocol='paper' & disjoint"),
    ("a distance that 80 classes refuse", "--set protocol=unseen-classes --set min_distance=60", "60 & 80 codes"),
    ("too few bits for 80 classes", "--set protocol=unseen-classes --set bits=5", "80 classes & 5 bits"),
    ("a preset that --set contradicts", "--preset paper --set size=128", "crop=224 & 128 pixels"),
    ("a preset and no weights", "--preset frozen --set weights=none", "features='frozen'"),
    ("the files of NABirds are missing", "--data nabirds", "nabirds & images.txt"),
    ("the files of COCO are missing", "--data coco", "coco & annotations_trainval2017.zip"),
    ("the files of Stanford Cars are missing", "--data stanford_cars", "stanford_cars & cars_meta.mat"),
    ("the files of CIFAR-10 are missing", "--data cifar10", "cifar10 & cifar-10-binary.tar.gz"),
    ("the files of CIFAR-100 are missing", "--data cifar100", "cifar100 & cifar-100-binary.tar.gz"),
    ("the root of CIFAR-10 is empty", "--data cifar10 --root {p}/runs", "cifar-10-binary.tar.gz & {p}/runs"),
    ("own pictures without a root", "--data image_folder", "no root was given"),
    ("own pictures from nowhere", "--data image_folder --root {p}/nowhere", "{p}/nowhere is no folder"),
    ("a root that is not there", "--root {p}/nowhere", "{p}/nowhere is no folder"),
    ("the second of two values", "--set bits=32 --set bits=0", "bits=0"),
)

LOOP = dict(epochs=2)
DATA = dict(data="emoji")
CELL = dict(method="shc", bits=32)
SETTINGS = dict(settings=["bits=8"], known={"03": {"bits": parameters.Parameter("bits", "int", 32, "")}})
HOSTILE = "[" * 100_000

CASES = [
    *(Case(f"parameter {name}", repr(value), f"run --set {name}={value}", words) for name, value, words in VALUES),
    *TOGETHER,
    *of_function(
        "shc.parameters.parse_settings", parameters.parse_settings, SETTINGS,
        ("no equals sign", dict(settings=["bits"]), "got 'bits'"),
        ("an expression", dict(settings=["bits=2**5"]), "bits='2**5'"),
        ("a call", dict(settings=["bits=exit()"]), "bits='exit()'"),
        ("nothing", dict(settings=["bits="]), "bits=''"),
        ("a name without letters", dict(settings=["=8"]), "parameter ''"),
    ),
    Case(
        "shc.parameters.parse_settings", "brackets without end", lambda place: parameters.parse_settings(
            [f"bits={HOSTILE}"], SETTINGS["known"]), "bits=",
    ),
    *of_function(
        "shc.presets.preset_values", presets.preset_values, dict(name="paper"),
        ("unknown", dict(name="papers"), "'papers' & did you mean 'paper'"),
        ("empty", dict(name=""), "preset ''"),
    ),
    *of_function(
        "shc.config.Data", config.Data, DATA,
        ("a size of text", dict(size="32"), "size='32' & int"),
        ("a scale of True", dict(scale=True), "scale=True"),
        ("a root that is none", dict(root=None), "root=None"),
        ("a name of bytes", dict(data=b"emoji"), "data=b'emoji'"),
        ("a seed that is negative", dict(seed=-2), "seed=-2"),
        ("no share for val", dict(val=0), "val=0.0"),
    ),
    *of_function(
        "shc.config.CentersConfig", config.CentersConfig, dict(bits=32),
        ("more than all false", dict(shuffled=1.5), "shuffled=1.5"),
        ("false by nan", dict(shuffled=float("nan")), "shuffled=nan"),
        ("an unknown kind", dict(kind="hadamard"), "kind='hadamard' & csq"),
        ("a distance as a number", dict(min_distance=12), "min_distance=12 & str"),
        ("a list of bits", dict(bits=[16, 32]), "bits=[16, 32]"),
    ),
    *of_function(
        "shc.config.HasherConfig", config.HasherConfig, LOOP,
        ("an unknown hyper-parameter", dict(options="gama=1"), "'gama' & did you mean 'gamma'"),
        ("a hyper-parameter of text", dict(options="gamma=much"), "'much'"),
        ("a negative hyper-parameter", dict(options="gamma=-1"), "gamma=-1"),
        ("a hyper-parameter without value", dict(options="gamma"), "'gamma'"),
        ("frozen and tuned", dict(frozen=True, features="tune"), "frozen=True & features='tune'"),
        ("negative bits", dict(bits=-1), "bits=-1"),
        ("frozen as a text", dict(frozen="yes"), "frozen='yes'"),
        ("no threads", dict(threads=0), "threads=0"),
        ("no validation", dict(eval_every=0), "eval_every=0"),
        ("a color above all", dict(color=1.0), "color=1.0"),
    ),
    *of_function(
        "shc.schedule.Schedule", schedule.Schedule, LOOP,
        ("a negative crop", dict(crop=-2), "crop=-2"),
        ("a negative shift", dict(shift=-1), "shift=-1"),
        ("a hole larger than the image", dict(cutout=1.5), "cutout=1.5"),
        ("a factor below 0", dict(backbone_lr=-1.0), "backbone_lr=-1.0"),
        ("decay below 0", dict(weight_decay=-0.1), "weight_decay=-0.1"),
        ("a rate that is no number", dict(lr=float("nan")), "lr=nan"),
    ),
    *of_function(
        "shc.method_run.MethodRun", MethodRun, CELL,
        ("an unknown split", dict(split="test"), "split='test' & query"),
        ("centers for a method without", dict(method="itq", centers="csq"), "centers='csq' & 'itq'"),
        ("unknown centers", dict(centers="bch"), "kind='bch'"),
        ("an unknown start", dict(init="imagenet"), "init='imagenet'"),
        ("an unknown similarity", dict(similarity="truth"), "similarity='truth'"),
        ("too few bits", dict(bits=4), "100 classes & 4 bits"),
        ("a distance beyond Plotkin", dict(bits=16, min_distance="9"), "min_distance=9 & at most 6"),
        ("a fold of a set without", dict(data="shapes", fold=3), "fold=3"),
        ("no passes", dict(hasher_epochs=0), "epochs=0"),
        ("reference as a text", dict(reference="both"), "reference='both'"),
        ("files that are not there", dict(data="coco", root="nowhere"), "nowhere is no folder"),
    ),
]  # fmt: skip
